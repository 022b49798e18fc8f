#!/usr/bin/env bash
# The whole check of this checkout: style, types, import rules, generated files, tests. CI runs the same.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.tidemill/venv/bin

usage() {
  cat <<'TEXT'
Usage: ./hack/test.sh [--all] [pytest arguments]

Sets up the checkout, then checks style (ruff), types (mypy), import rules (import-linter), generated files, and runs
the tests: unit, golden, integration on the dev cluster, end to end with the real engine. About 20 minutes on 2 cores.
  --all   also the tests that take longer, and new examples for the property tests
With pytest arguments (a file, -k NAME) only those tests run, without the other checks.
TEXT
}

select=(-m 'not all')
case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --all) select=(); export HYPOTHESIS_PROFILE=new-examples; shift ;;
esac

cd "$root"
./hack/setup.sh
export PYTHONPATH=$root/hack PYTHONSAFEPATH=1 HF_HUB_OFFLINE=1 RAY_USAGE_STATS_ENABLED=0

if [ "$(id -u)" != 0 ] && [ -z "${KUBECONFIG_UNDER_TEST:-}" ]; then
  printf 'test: not root and no KUBECONFIG_UNDER_TEST: every test on pods will be SKIPPED\n' >&2
fi

if [ $# -eq 0 ]; then
  "$bin/ruff" check .
  "$bin/ruff" format --check .
  "$bin/mypy"
  "$bin/lint-imports"
  "$bin/python" -m tidemill_api.crdgen --check
fi
pytest=("$bin/python" -m pytest "${select[@]}" --durations=10)
if [ $# -gt 0 ]; then
  exec "${pytest[@]}" "$@"
fi
# Two files at a time: most of them wait for programs most of their time. What is pure runs once. Of the others, one that
# fails runs once more, and is named at the end as unsteady where it then passes: a fault to be found, not a broken main.
failed=0
"${pytest[@]}" -n 2 tests/unit tests/golden || failed=1
"${pytest[@]}" --reruns 1 -n 2 tests/integration || failed=1
"${pytest[@]}" --reruns 1 -n 2 tests/e2e tests/demo || failed=1
exit $failed

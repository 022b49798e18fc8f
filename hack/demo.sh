#!/usr/bin/env bash
# A batch job, or with --realtime an endpoint, end to end on this machine: see ./hack/demo.sh --help.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
invoked_from=$PWD

case " $* " in
  *" --help "* | *" -h "*) ;;
  *) "$root/hack/setup.sh" ;;
esac
python=$root/.tidemill/venv/bin/python
[ -x "$python" ] || python=python3   # --help before any set-up
export PYTHONPATH=$root/hack PYTHONSAFEPATH=1
cd "$invoked_from"
exec "$python" -m demo "$@"

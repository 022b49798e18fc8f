#!/usr/bin/env bash
# The dev cluster: ./hack/devcluster.sh up|down|status (--help says more).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.tidemill/venv/bin/python
if [ ! -x "$python" ]; then
  echo "devcluster: this checkout is not set up yet; run ./hack/setup.sh first" >&2
  exit 1
fi
PYTHONPATH=$root/hack${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m devcluster "$@"

#!/usr/bin/env bash
# The whole study: learning processes (1) to (4), (a) and (b) over seeds (comparison), (1) to (4) at 20 to 100%
# of the target's training set (robustness), the analysis of their networks, and the page that compares them.
#
#   ./multirun.sh                      generated images, a narrow network, 3 seeds, 75 stage runs: docs/results.md
#   ./multirun.sh real                 real images below paths.data_dir (docs/real-data.md)
#   ./multirun.sh paper                the paper's sets, size and 10 seeds
#   ./multirun.sh small seed=range(5)  what follows are Hydra overrides
#
# The same command again trains only what is missing. PYTHON is the interpreter, by default that of .venv.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$project/.venv/bin/python}
[[ -x $python ]] || python=python
export PYTHONPATH=$project${PYTHONPATH:+:$PYTHONPATH}

if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then  # the comment above
  as_typed='import sys; from relay_transfer.commands import as_typed; print(as_typed(sys.stdin.read()), end="")'
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | "$python" -c "$as_typed"
  exit
fi
if ! "$python" -c 'import hydra' 2> /dev/null; then
  echo "multirun.sh: $python has not what Relay needs: install it as README's Start does, or set PYTHON" >&2
  exit 2
fi

size=small
if [[ $# -gt 0 && $1 != *=* && $1 != -* ]]; then
  size=$1
  shift
fi
case $size in
  small | real) seeds='range(3)' ;;
  paper) seeds='range(10)' ;;
  *)
    echo "multirun.sh: there is no study '$size'; choose small, real or paper" >&2
    exit 2
    ;;
esac

runs_dir=runs-$size
for override in "$@"; do
  [[ $override == paths.runs_dir=* ]] && runs_dir=${override#paths.runs_dir=}
done

status=0
for sweep in comparison robustness; do
  "$python" "$project/train.py" -m "experiment=[$sweep,$size]" "seed=$seeds" "paths.runs_dir=$runs_dir" "$@" ||
    status=$?
  # After Ctrl-C or an invalid request there is nothing to show. Failed stage runs are on the page.
  [[ $status -eq 0 || $status -eq 1 && -d $runs_dir ]] || exit "$status"
done
[[ " $* " == *" plan=true "* ]] && exit "$status"
"$python" -m analysis.visualize "runs_dir=$runs_dir" || status=$?
"$python" -m analysis.report "runs_dir=$runs_dir" || status=$?
exit "$status"

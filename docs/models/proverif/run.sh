#!/bin/sh
# Runs every question with ProVerif and compares: a file whose comment expects FALSE must have a false result, every other
# only true ones.
set -eu
cd "$(dirname "$0")"
command -v proverif >/dev/null || { echo 'proverif is missing: its files were not run (opam install proverif)' >&2; exit 2; }
failed=0
for file in *.pv; do
  if grep -q 'set ignoreTypes' "$file"; then
    out=$(proverif "$file" 2>&1) || true
  else
    out=$(proverif -lib handshake.pvl "$file" 2>&1) || true
  fi
  results=$(printf '%s\n' "$out" | grep '^RESULT' || true)
  case $(sed '/\*)$/q' "$file") in
    *FALSE*) want='is false' bad='' ;;
    *) want='is true' bad='is false\|cannot be proved' ;;
  esac
  if ! printf '%s\n' "$results" | grep -q "$want" || { [ -n "$bad" ] && printf '%s\n' "$results" | grep -q "$bad"; }; then
    failed=1
    printf 'FAILED  %s\n%s\n' "$file" "${results:-$out}"
  else
    printf 'ok      %s\n' "$file"
  fi
done
exit $failed

#!/usr/bin/env bash
# Makes what a first git source needs in a new folder:
#
#   shop.git      a bare repository, as on a forge, with the projects of examples/git/shop
#   shop          a clone of it, to edit and push
#   sources.toml  the sources file
#   projects      the volume, empty
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: $0 DIR (a folder that does not exist yet)" >&2
  exit 64
fi
if [ -e "$1" ]; then
  echo "$0: $1 exists already: name a new folder, or remove it" >&2
  exit 1
fi
command -v git >/dev/null || { echo "$0: git is missing: install it (Debian: git)" >&2; exit 1; }
case $1 in
  /*) dir=$1 ;;
  *) dir=$PWD/$1 ;;
esac
case $dir in # it becomes part of a URL
  *[!A-Za-z0-9._/-]*) echo "$0: $dir: use a path of letters, digits, dots, - and _" >&2; exit 64 ;;
esac

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir"
trap 'rm -rf "$dir"' ERR

git init --quiet --bare --initial-branch main "$dir/shop.git"
git clone --quiet "$dir/shop.git" "$dir/shop" 2>/dev/null # the repository is empty, which git warns of
cp -r "$here/shop/." "$dir/shop/"
cd "$dir/shop"
git checkout --quiet -B main
# The clone has an author of its own if the user has none.
git config user.name >/dev/null || git config user.name "Shop"
git config user.email >/dev/null || git config user.email "shop@localhost"
git add .
git commit --quiet --message "Two projects and what they share"
git push --quiet --set-upstream origin main

mkdir "$dir/projects"
cat > "$dir/sources.toml" <<END
[[source]]
name = "shop"
url = "file://$dir/shop.git"
branch = "main"
projects = [{ path = "apps/*" }]
shared = ["apps/_shared"]
poll = "5s"
END

cat <<END
Serve it:

  switchyard serve --projects $dir/projects --state $dir/state --sources $dir/sources.toml --allow-local $dir
END

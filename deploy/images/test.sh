#!/usr/bin/env bash
# Builds every image without a container engine and tries them. `deploy/images/test.sh --help`
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

work=build/images/test release=build/release libtorch=${LIBTORCH:-build/libtorch} from_source=false keep=false level=3 mlflow=''

Help() {
  cat <<'END'
Usage: deploy/images/test.sh [OPTION]…

Builds the targets of the Dockerfile with buildah on a slim Debian that debootstrap makes, starts what is in them without
root, network and a writable root file system, and checks it: tests/acceptance, the sizes, what must not be there, SIGTERM.
Needs root and the packages buildah, debootstrap, binutils, zstd, python3; the Debian mirror is the one of this machine's apt.
Everything lies below build/images/test (4 GB) and is removed at the end. Takes about 2 minutes.

  --prebuilt          take the programs of build/release (default)
  --from-source       compile them inside, as docker build does, but with this machine's libtorch and ccache
  --release FOLDER    the build [build/release]
  --libtorch FOLDER   libtorch [$LIBTORCH, else build/libtorch]
  --mlflow PROGRAM    mlflow: starts a tracking server, registers the model there, and builds serve-with-model from its name, too
  --zstd LEVEL        of the compressed size [3]
  --keep              leave the images in build/images/test/storage
END
}
Fail() { echo "deploy/images/test.sh: $*" >&2; exit 1; }

while (($#)); do
  case $1 in
    --help | -h) Help; exit ;;
    --prebuilt) from_source=false; shift ;;
    --from-source) from_source=true; shift ;;
    --keep) keep=true; shift ;;
    --release | --libtorch | --zstd | --mlflow)
      (($# > 1)) || Fail "$1 needs a value"
      case $1 in --release) release=$2 ;; --libtorch) libtorch=$2 ;; --zstd) level=$2 ;; --mlflow) mlflow=$2 ;; esac
      shift 2 ;;
    *) Fail "unknown option $1; --help lists them" ;;
  esac
done
((EUID == 0)) || Fail "needs root, for debootstrap and to mount"
for tool in buildah debootstrap strip zstd python3 unshare setpriv; do
  command -v "$tool" >/dev/null || Fail "no $tool here; --help lists the packages that are needed"
done

unshare --net --mount --pid --fork true || Fail "this machine allows no new namespaces: nothing can be started as in a container"

tracker=''
cache=/var/lib/containers/cache # buildah writes there, whatever the folder of its storage
if [[ -e $cache ]]; then cache=''; fi
Buildah() { buildah --root "$PWD/$work/storage" --runroot "$PWD/$work/runroot" --storage-driver vfs "$@"; }
CleanUp() {
  [[ -z $tracker ]] || kill -- "-$tracker" 2>/dev/null || true
  Buildah rm --all >/dev/null 2>&1 || true
  if $keep; then echo "==> The images are in $work/storage"; else rm -rf "$work"; fi
  [[ -z $cache ]] || rm -rf "$cache"
}

# Step TEXT COMMAND…: one line with the duration; the output is shown when the command fails.
Step() {
  local text=$1 begin=$SECONDS code=0; shift
  "$@" >"$work/log" 2>&1 </dev/null || code=$?
  if ((code != 0)); then tail -n 40 "$work/log" >&2; Fail "\"$text\" failed with exit code $code"; fi
  echo "==> $text ($((SECONDS - begin)) s)"
}

# The first mirror of the machine's own list of sources for this release.
Mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    awk '$1 == "URIs:" && /debian/ {print $2; exit} $1 == "deb" && /bookworm main/ {print $(NF - 2); exit}'
}

# What debian:bookworm-slim is: a minimal system without documentation.
MakeDebian() { # FOLDER
  local mirror file
  mirror=$(Mirror)
  [[ -n $mirror ]] || Fail "found no Debian mirror in /etc/apt/sources.list and /etc/apt/sources.list.d"
  mkdir -p "$1/etc/dpkg/dpkg.cfg.d"
  printf 'path-exclude /usr/share/%s/*\n' man locale info doc >"$1/etc/dpkg/dpkg.cfg.d/docker"
  echo 'path-include /usr/share/doc/*/copyright' >>"$1/etc/dpkg/dpkg.cfg.d/docker"
  debootstrap --variant=minbase bookworm "$1" "$mirror"
  rm -f "$1/etc/apt/sources.list"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do
    if [[ -s $file ]] && grep -q 'bookworm' "$file" && grep -q debian-archive "$file"; then
      cp "$file" "$1/etc/apt/sources.list.d/"
    fi
  done
  [[ -n $(ls "$1/etc/apt/sources.list.d") ]] || echo "deb $mirror bookworm main" >"$1/etc/apt/sources.list"
  apt-config dump Acquire::Check-Valid-Until Acquire::Check-Date >"$1/etc/apt/apt.conf.d/99-as-outside"
  find "$1/usr/share/doc" -mindepth 2 ! -name copyright ! -type d -delete
  rm -rf "$1"/usr/share/{man,locale,info}/* "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*
  mkdir -p "$1/var/cache/apt/archives/partial" "$1/var/lib/apt/lists/partial"
}

Build() { # TARGET OPTION…: localhost/TARGET
  local target=$1; shift
  Buildah bud --isolation chroot --format docker --target "$target" --tag "localhost/$target" \
    --build-arg DEBIAN=localhost/debian "$@" .
}

# The root file system of an image, and how it is to be run; sets `root`.
Unpack() { # TARGET
  local container
  container=$(Buildah from --pull-never "localhost/$1")
  root=$(Buildah mount "$container")
  Buildah inspect --type image "localhost/$1" >"$work/$1.json"
}

# The stage `model` of the Dockerfile: a name of the registry, credentials that must not stay.
BuildFromRegistry() {
  local port secret=kept-in-no-layer
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  export MLFLOW_TRACKING_URI=http://127.0.0.1:$port
  setsid "$mlflow" server --port "$port" --workers 1 --backend-store-uri "sqlite:///$PWD/$work/mlflow.db" \
    --artifacts-destination "$PWD/$work/artifacts" >"$work/mlflow.log" 2>&1 </dev/null &
  tracker=$!
  for _ in {1..300}; do
    if "$release/bin/flambeau" ping "$MLFLOW_TRACKING_URI/health" >/dev/null 2>&1; then break; fi
    kill -0 "$tracker" || Fail "mlflow ended: $(tail -n 5 "$work/mlflow.log")"
    sleep 0.2
  done
  Step "A model in MLflow" "$release/bin/flambeau-train" news --data trainer/sample/news.csv --out "$work/registered" \
    --runs "$work/runs" --register-model news_classification
  printf 'MLFLOW_TRACKING_USERNAME=somebody\nMLFLOW_TRACKING_PASSWORD=%s\n' "$secret" >"$work/secret"
  Step "Image serve-with-model from models:/news_classification/1" Build serve-with-model "${options[@]}" \
    --secret "id=mlflow,src=$work/secret" --build-arg "MLFLOW_TRACKING_URI=$MLFLOW_TRACKING_URI" \
    --build-arg MODEL_NAME=news_classification --build-arg MODEL_VERSION=1
  Unpack serve-with-model
  [[ -f $root/models/news_classification.mar ]] || Fail "no model in the image that was built from the registry"
  if grep -rq "$secret" "$root" "$work/serve-with-model.json" "$work/storage/vfs-images"; then Fail "the image holds the build's secret"; fi
  echo "==> The credentials are in no layer and no history"
}

Size() { du -sk --apparent-size "$1" | cut -f1; }                         # in KiB
Compressed() { tar -C "$1" -c . | zstd -q -T0 "-$level" | wc -c; }        # in bytes
Megabytes() { awk -v bytes="$1" 'BEGIN {printf "%.0f MB", bytes / 1e6}'; }

Row() { printf '%-58s %s\n' "$1" "$2" | tee -a "$work/table"; }

mkdir -p build/images
exec {lock}>build/images/lock
flock -n "$lock" || Fail "another run is going on in build/images"
rm -rf "$work"
mkdir -p "$work/tmp"
export TMPDIR=$PWD/$work/tmp
export PYTHONDONTWRITEBYTECODE=1
trap CleanUp EXIT

Step "Debian" MakeDebian "$work/debian"
printf 'FROM scratch\nADD debian /\n' >"$work/debian.Dockerfile"
Step "Image debian" Buildah bud --isolation chroot --tag localhost/debian -f "$work/debian.Dockerfile" "$work"
options=(--build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)" --build-arg VERSION=test)
if ! $from_source; then
  Step "Files of the images, from $release" deploy/images/trees "$work/trees" --release "$release" --libtorch "$libtorch"
  options+=(--build-context "trees=$PWD/$work/trees")
else
  mkdir -p "${CCACHE_DIR:-$HOME/.cache/ccache}"
  Step "Compiling" Build trees "${options[@]}" --volume "$(readlink -f "$libtorch"):/flambeau/build/libtorch:ro" \
    --volume "${CCACHE_DIR:-$HOME/.cache/ccache}:/root/.cache/ccache"
  options+=(--build-context trees=container-image://localhost/trees)
fi
Step "Image base" Build base "${options[@]}"
# The others start from it, instead of making it again. (An engine does that by itself.)
options+=(--build-context base=container-image://localhost/base)
Step "Image train" Build train "${options[@]}"
Step "Image serve" Build serve "${options[@]}"

Unpack train
install -d -o 65532 -g 65532 "$work/trained"
Step "Training in image train" unshare --net --mount python3 deploy/images/container.py "$root" "$work/train.json" --bind "$work/trained=/work" \
  --command "flambeau-train news --data /flambeau/trainer/sample/news.csv --out /work/store --no-tracking"
model=$work/trained/store/news_classification.mar
if [[ -n $mlflow ]]; then BuildFromRegistry; model=models:/news_classification/1; fi
Step "The model, from $model" deploy/images/model "$work/model" "$model" --program "$release/bin/flambeau"
mapfile -t labels < <(sed 's/^/--label=/' "$work/model/labels")
Step "Image serve-with-model, tag $(cat "$work/model/tag")" Build serve-with-model "${options[@]}" --build-context "model=$PWD/$work/model" \
  --build-arg MODEL_NAME=news_classification "${labels[@]}"

echo
failed=0
check=(python3 deploy/images/check.py --work "$work")
if [[ -x $release/bin/flambeau ]]; then
  unshare --net --mount "${check[@]}" --what "no image" --program "$release/bin/flambeau" --models "$work/model/models" | tee -a "$work/table" || failed=1
fi
Unpack serve
serve=$root
unshare --net --mount "${check[@]}" --what serve --root "$root" --image "$work/serve.json" --models "$work/model/models" | tee -a "$work/table" || failed=1
Unpack serve-with-model
unshare --net --mount "${check[@]}" --what serve-with-model --root "$root" --image "$work/serve-with-model.json" --labels "$work/model/labels" | tee -a "$work/table" || failed=1

debian_size=$(Size "$work/debian") serve_size=$(Size "$serve")
above=$(((serve_size - debian_size) * 1024))
Row "slim Debian, uncompressed" "$(Megabytes $((debian_size * 1024)))"
Row "serve above slim Debian, uncompressed (at most 400 MB)" "$(Megabytes "$above") ($((above >> 20)) MiB)"
compressed=$(Compressed "$serve")
compressed_debian=$(Compressed "$work/debian")
compressed=$((compressed - compressed_debian))
Row "serve above slim Debian, zstd -$level (at most 150 MB)" "$(Megabytes "$compressed") ($((compressed >> 20)) MiB)"
if ((above > 400 * 1000 ** 2 || compressed > 150 * 1000 ** 2)); then echo "FAIL  the image is too large"; failed=1; fi
((failed == 0)) || Fail "see above"
echo "==> Every check passed"

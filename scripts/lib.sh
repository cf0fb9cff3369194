# Shared by the scripts of this folder; sourced, not run.
#
# Keeps to what a fresh Debian 12 or Ubuntu 24.04 has: bash, apt-get and, when
# not root, sudo.

packages=(build-essential cmake ninja-build pkg-config
          libabsl-dev libgtest-dev libgmock-dev nlohmann-json3-dev
          libpcre2-dev libutf8proc-dev libedit-dev
          clang-format clang-tidy python3)

# With the minutes since the script began.
say() { printf '\n== %s (%d min)\n' "$*" "$((SECONDS / 60))"; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs what is missing; asks for nothing when everything is there.
install_packages() {
  local missing=()
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
      grep -q 'ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -eq 0 ] && return
  say "installing ${missing[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# Installs a package that not every distribution has, and goes on without it.
install_optional() {
  dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' &&
    return
  say "installing $1"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "$1" ||
    say "no $1 here; tests that need it skip"
}

# Where the CUDA toolkit puts nvcc, in case it is not on the path.
find_nvcc() {
  if ! command -v nvcc >/dev/null && [ -x /usr/local/cuda/bin/nvcc ]; then
    PATH="$PATH:/usr/local/cuda/bin"
  fi
}

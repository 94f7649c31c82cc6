#!/usr/bin/env bash
# deb.sh PROGRAM OUT_DIR: the Debian package of a release program. Prints its path.
set -euo pipefail
program=$(realpath "$1")
out=$(realpath "$2")
cd "$(dirname "$0")/.."

version=$(sed -n 's/^project(deployclaw VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
umask 022

install -Dm755 "$program" "$root/usr/bin/deployclaw"
strip --strip-unneeded "$root/usr/bin/deployclaw"
install -Dm644 packaging/deployclaw.service "$root/usr/lib/systemd/system/deployclaw.service"
mkdir -p "$root/etc/deployclaw" "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
gzip -9n <packaging/deployclaw.1 >"$root/usr/share/man/man1/deployclaw.1.gz"
"$program" completion bash >"$root/usr/share/bash-completion/completions/deployclaw"
"$program" completion zsh >"$root/usr/share/zsh/vendor-completions/_deployclaw"
"$program" completion fish >"$root/usr/share/fish/vendor_completions.d/deployclaw.fish"
doc=$root/usr/share/doc/deployclaw
install -Dm644 LICENSE "$doc/copyright"
install -Dm644 README.md "$doc/README.md"
cp -r docs/operations docs/formats packaging/grafana "$doc/"
install -Dm644 packaging/prometheus/deployclaw.rules.yml "$doc/prometheus/deployclaw.rules.yml"
(cd "$work" && "$program" init --config "$doc/deployclaw.yaml" >/dev/null)
find "$root" -type d -exec chmod 755 {} + -o -type f ! -perm -100 -exec chmod 644 {} +

# What the program links to, in this distribution's versions.
mkdir -p "$work/debian"
printf 'Source: deployclaw\nMaintainer: x\n\nPackage: deployclaw\nArchitecture: %s\n' "$architecture" >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info "$root/usr/bin/deployclaw" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')

mkdir -p "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: deployclaw
Version: $version
Architecture: $architecture
Maintainer: DeployClaw <maintainers@deployclaw.invalid>
Section: admin
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends, ca-certificates
Description: finds poison messages in queues and removes them safely
 Watches queues on Redis, RabbitMQ and Amazon SQS against the SLA of each
 tenant, tells poison messages by their content and how their deliveries
 ended, removes them behind an encrypted snapshot with a rollback that
 works, and writes a signed log that others can verify.
CONTROL
package=$out/deployclaw_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package"

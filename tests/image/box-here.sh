#!/bin/bash
# Starts daemon and analyst of a built root (its own systemd, its own units with all that these forbid) on this machine's kernel: in name
# spaces of its own, over a read-only view of the root, with everything that is written in memory. Ends with the process that started it.
#   box-here.sh ROOT FOLDER     (root; FOLDER is empty; in a control group of its own below the hierarchy "systemd")
set -euo pipefail
root=$1 new=$2/root
mount --make-rprivate /
mkdir -p "$new"
mount --bind "$root" "$new"
mount -o remount,bind,ro "$new"
for folder in var tmp run dev; do mount -t tmpfs tmpfs "$new/$folder"; done
mount -t proc proc "$new/proc"
mount -t sysfs -o ro sysfs "$new/sys"
mount -t tmpfs tmpfs "$new/sys/fs/cgroup"
mkdir "$new/sys/fs/cgroup/systemd"
mount -t cgroup -o none,name=systemd cgroup "$new/sys/fs/cgroup/systemd"
mount -o remount,ro "$new/sys/fs/cgroup" # or this systemd mounts the machine's own controllers there and leaves its groups in them
for node in null zero full random urandom tty; do
    touch "$new/dev/$node"
    mount --bind "/dev/$node" "$new/dev/$node"
done
mkdir "$new/dev/pts" "$new/dev/shm"
mount -t tmpfs tmpfs "$new/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"
ln -s /proc/self/fd "$new/dev/fd"

# Only the units under test: nothing of sysinit, which belongs to a machine of its own.
units=$new/run/units from=$root/usr/lib/systemd/system
mkdir -p "$units" "$new/run/systemd"
for unit in coronet coronet-analyst; do
    cp -r "$from/$unit.service.d" "$units/" 2>/dev/null || true
    sed "s/^RequiresMountsFor.*//; s/coronet-power.socket//g
         s#^ExecStart=#StandardOutput=append:/run/$unit.log\nStandardError=append:/run/$unit.log\nExecStart=#" "$from/$unit.service" >"$units/$unit.service"
done
cp "$from"/coronet*.slice "$from"/{shutdown,umount,final,local-fs,network,slices,sockets,paths,timers,basic}.target "$units/"
printf '[Unit]\nDefaultDependencies=no\n' | tee "$units/sysinit.target" "$units/local-fs-pre.target" >/dev/null
printf '[Unit]\nDefaultDependencies=no\nWants=coronet.service coronet-analyst.service\n' >"$units/all.target"

mkdir -p "$new/var/lib/coronet" "$new/var/cache/coronet" "$new/var/log"
cp -R "$root/usr/share/coronet/numba" "$new/var/cache/coronet/numba"
chroot "$new" chown -R coronet:coronet /var/lib/coronet /var/cache/coronet
chroot "$new" install -d -m 2750 -o coronet -g coronet-kiosk /run/coronet
ip link set lo up
exec chroot "$new" /usr/bin/env -i PATH=/usr/sbin:/usr/bin container=other SYSTEMD_UNIT_PATH=/run/units /lib/systemd/systemd --system --unit=all.target

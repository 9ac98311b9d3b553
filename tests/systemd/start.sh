#!/bin/bash
# Starts systemd over a copy of this machine's root that lives in memory: nothing of it is seen outside, nothing outside is changed by it.
#   start.sh REPOSITORY FOLDER     (root, in new mount, pid, net, uts, ipc and cgroup name spaces, in a control group of its own)
# FOLDER/units holds the units, all.target wants what is to run; FOLDER/over is laid over the root. Ends with the process that started it.
set -euo pipefail
repository=$1 folder=$2
mount --make-rprivate /
memory=$folder/memory
mkdir "$memory"
mount -t tmpfs tmpfs "$memory"
mkdir "$memory"/{upper,work,root}
new=$memory/root
mount -t overlay -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" overlay "$new"
mkdir -p "$new"/opt/coronet/{venv,source} "$new/data"
mount --bind "$repository/.venv" "$new/opt/coronet/venv"
mount --bind "$repository" "$new/opt/coronet/source"
mount -o remount,bind,ro "$new/opt/coronet/venv"
mount -o remount,bind,ro "$new/opt/coronet/source"
for place in var tmp run dev $([ ! -d "$folder/over/data" ] || echo data); do mount -t tmpfs tmpfs "$new/$place"; done
chmod 1777 "$new/tmp"
mount -t proc proc "$new/proc"
mount -t sysfs -o ro sysfs "$new/sys"
mount -t tmpfs tmpfs "$new/sys/fs/cgroup"
mkdir "$new/sys/fs/cgroup/systemd"
mount -t cgroup -o none,name=systemd cgroup "$new/sys/fs/cgroup/systemd"
mount -o remount,ro "$new/sys/fs/cgroup" # or it would mount this machine's controllers and keep its groups there
for node in null zero full random urandom tty; do
    touch "$new/dev/$node"
    mount --bind "/dev/$node" "$new/dev/$node"
done
mkdir "$new"/dev/{pts,shm} "$new"/var/{log,lib,cache,tmp}
mount -t tmpfs tmpfs "$new/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"
ln -s /proc/self/fd "$new/dev/fd"
mkdir -p "$new/run/systemd"
cp -r "$folder/units" "$new/run/units"
cp -r "$folder/over/." "$new/"
cp /usr/lib/systemd/system/{shutdown,umount,final,local-fs,network,slices,sockets,paths,timers,basic}.target "$new/run/units/"
printf '[Unit]\nDefaultDependencies=no\n' | tee "$new"/run/units/{sysinit,local-fs-pre}.target >/dev/null
chroot "$new" systemd-sysusers /run/sysusers.conf
chroot "$new" systemd-tmpfiles --create /run/tmpfiles.conf
ip link set lo up
exec chroot "$new" /usr/bin/env -i PATH=/usr/sbin:/usr/bin container=other SYSTEMD_UNIT_PATH=/run/units:/etc/systemd/system /lib/systemd/systemd --system --unit=all.target

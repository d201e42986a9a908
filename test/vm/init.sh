#!/bin/busybox sh
# First program of a virtual machine, from the initial ram disk: the host's own root, read-only through 9p, beneath a layer
# in memory; then cgroups and the job. Words of the kernel's command line that start with vm. become variables:
# vm.cgroup (v2, v1, hybrid), vm.cache (the host's folder of the kernel), vm.job (a script on the host), vm.address,
# vm.systemd (1: systemd is the first process and runs the job as a unit).
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t securityfs security /sys/kernel/security; $B mount -t devtmpfs dev /dev
stop() { echo "vm: $1" >/dev/ttyS1; $B poweroff -f; }
for module in $($B cat /modules); do $B insmod "/m/$module" || stop "cannot load $module"; done
for word in $($B cat /proc/cmdline); do case $word in vm.*=*) eval "${word#vm.}" ;; esac; done
$B mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /lower || stop "no root"
$B mount -t tmpfs -o mode=755,size=90% rw /rw; $B mkdir /rw/upper /rw/work
$B mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /root || stop "no overlay"
for dir in proc sys dev; do $B mount --move "/$dir" "/root/$dir"; done
$B mkdir -p /root/.host; $B mount --move /lower /root/.host
for dir in tmp var/tmp; do $B mount -t tmpfs -o mode=1777 fresh "/root/$dir"; done
$B mount -t tmpfs -o mode=755 run /root/run
$B mkdir -p /root/dev/pts /root/dev/shm /root/lib/modules
$B mount -t devpts -o mode=620,gid=5,ptmxmode=666 devpts /root/dev/pts; $B mount -t tmpfs shm /root/dev/shm
$B ln -sfn "/.host$cache/kernel/lib/modules/$($B uname -r)" "/root/lib/modules/$($B uname -r)"
$B cat >/root/run/job <<'JOB'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
tools=/.host$cache/tools
export PATH="$PATH:$tools/usr/sbin:$tools/sbin" LD_LIBRARY_PATH="$tools/usr/lib/x86_64-linux-gnu"
# A disk as hosts have it: what is in memory takes no mapped ids before 6.3, and keeps no project quota.
mount -o prjquota /dev/vda /tmp && chmod 1777 /tmp || echo "not ok - the disk"
echo "vm: up $(cut -d' ' -f1 /proc/uptime) s after power on, kernel $(uname -r)"
sh "/.host$job"
echo "vm: ended with $?"
JOB
[ -z "$systemd" ] || {
  echo vm >/root/etc/hostname; : >/root/etc/fstab; : >/root/etc/machine-id
  printf '[Unit]\nDescription=job\nAfter=basic.target dbus.socket\nWants=dbus.socket\n[Service]\nType=oneshot\nEnvironment=job=%s cgroup=%s cache=%s\nExecStart=/bin/sh /run/job\nStandardOutput=file:/dev/ttyS1\nStandardError=inherit\nTimeoutStartSec=infinity\nExecStopPost=/bin/systemctl poweroff --force --force\n' "$job" "$cgroup" "$cache" >/root/etc/systemd/system/covey-job.service
  printf '[Unit]\nDescription=job\nRequires=basic.target\nWants=covey-job.service\n' >/root/etc/systemd/system/covey-job.target
  exec $B switch_root /root /lib/systemd/systemd --unit=covey-job.target
}
export cgroup job address cache
exec $B switch_root /root /bin/sh -c '
hostname vm; ip link set lo up
case $cgroup in
  v2) mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup /sys/fs/cgroup
      for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done ;;
  *)  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
      for controller in cpu cpuacct cpuset memory devices freezer blkio pids hugetlb; do
        mkdir "/sys/fs/cgroup/$controller"; mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" || rmdir "/sys/fs/cgroup/$controller"
      done
      [ "$cgroup" != hybrid ] || { mkdir /sys/fs/cgroup/unified; mount -t cgroup2 cgroup /sys/fs/cgroup/unified; } ;;
esac
for nic in /sys/class/net/e*; do [ -z "$address" ] || { ip address add "$address" dev "${nic##*/}"; ip link set "${nic##*/}" up; }; done
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
[ -e /dev/fuse ] || mknod /dev/fuse c 10 229
mkdir -p /dev/net; [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
sh /run/job >/dev/ttyS1 2>&1
sync; poweroff -f'

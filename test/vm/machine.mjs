// Virtual machines with Debian's own kernel on this host's root: the features and the cgroups that hosts of users have and
// this one may lack. Emulated, because nested virtualisation is rare: C runs at half speed, Node ten times slower.
// Nothing of the host is changed: its root is read-only beneath a layer in memory.
import { spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
/** Kernel and ram disk, 400 MB; shared by all work trees. Not below /tmp or /var/tmp, which are fresh in the machine. */
export const CACHE = process.env.COVEY_VM_CACHE ?? '/var/cache/covey-vm';
/** Of this run alone: another version of the first program may run beside it. */
export const RAM_DISK = join(CACHE, `ramdisk-${process.pid}.gz`);
const META_PACKAGE = 'linux-image-amd64';
const PACKAGES = {
  'qemu-system-x86': '/usr/bin/qemu-system-x86_64',
  'busybox-static': '/bin/busybox',
  cpio: '/usr/bin/cpio',
  kmod: '/sbin/depmod',
  'xz-utils': '/usr/bin/xz',
  e2fsprogs: '/sbin/mkfs.ext4',
  xfsprogs: '/sbin/mkfs.xfs',
};
/** Unpacked beside the kernel, because installing them would start their services on this host. */
const TOOLS = {
  'nfs-kernel-server': 'usr/sbin/exportfs',
  'nfs-common': 'sbin/mount.nfs',
  libnfsidmap1: 'usr/lib/x86_64-linux-gnu/libnfsidmap.so.1',
  apparmor: 'sbin/apparmor_parser',
};
/** What is needed to reach the root; everything else the kernel asks modprobe for. */
const EARLY_MODULES = ['virtio_pci', '9p', '9pnet_virtio', 'virtio_net', 'virtio_blk', 'virtio_rng', 'overlay'];
const XZ_MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
const ELF_MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
/** As far as a machine may fill it. */
const DISK_BYTES = 4 * 2 ** 30;
const SWIFT = ['-smp', '2', '-accel', 'tcg,thread=multi,tb-size=256'];
/**
 * The machine's time is counted in its instructions, one a nanosecond: it seems to have fast processors whose every second
 * takes us many, so that leases and deadlines of real programs hold however busy the host is. One processor: two would take
 * turns, and spend theirs waiting for each other.
 */
const STEADY = ['-smp', '1', '-accel', 'tcg,thread=single,tb-size=512', '-icount', 'shift=0,sleep=on'];
const MULTICAST = '230.0.0.1';

/** Runs a program to its end. @throws with what it said when it fails */
function run(command, args, options = {}) {
  const result = spawnSync(command, args, { maxBuffer: 256 << 20, ...options });
  if (result.error !== undefined) throw new Error(`${command} cannot run`, { cause: result.error });
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** Installs and downloads what is missing, and builds the ram disk. Idempotent. */
export function prepare() {
  const missing = Object.keys(PACKAGES).filter((name) => !existsSync(PACKAGES[name]));
  if (missing.length > 0) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    run('apt-get', ['update', '-qq'], { env });
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], { env });
  }
  mkdirSync(CACHE, { recursive: true });
  prepareKernel();
  prepareTools();
  prepareRamDisk();
}

/** Downloads Debian packages and puts their files below `folder` of the cache. */
function unpack(packages, folder) {
  const fresh = join(CACHE, `fresh-${process.pid}`);
  mkdirSync(fresh);
  try {
    run('apt-get', ['download', '-qq', ...packages], { cwd: fresh });
    for (const deb of readdirSync(fresh)) run('dpkg-deb', ['-x', join(fresh, deb), join(CACHE, folder)]);
  } finally {
    rmSync(fresh, { recursive: true });
  }
}

function prepareKernel() {
  if (existsSync(join(CACHE, 'vmlinux'))) return;
  const depends = run('apt-cache', ['depends', META_PACKAGE], { encoding: 'utf8' });
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Error(`apt knows no kernel for ${META_PACKAGE}: run apt-get update`);
  unpack([name], 'kernel');
  const version = kernelVersion();
  run('/sbin/depmod', ['-b', join(CACHE, 'kernel'), version]);
  writeFileSync(join(CACHE, 'vmlinux'), unpacked(join(CACHE, 'kernel', 'boot', `vmlinuz-${version}`)));
}

function prepareTools() {
  const missing = Object.keys(TOOLS).filter((name) => !existsSync(join(CACHE, 'tools', TOOLS[name])));
  if (missing.length > 0) unpack(missing, 'tools');
}

function kernelVersion() {
  const [version] = readdirSync(join(CACHE, 'kernel', 'lib', 'modules'));
  return version;
}

/** The kernel without its compression: unpacking would take seconds of each boot. */
function unpacked(path) {
  const image = readFileSync(path);
  const start = image.indexOf(XZ_MAGIC);
  // What follows the one stream is not xz, and is told as an error after everything was written.
  const { stdout } = spawnSync('xz', ['-dc', '--single-stream'], {
    input: image.subarray(Math.max(start, 0)),
    maxBuffer: 256 << 20,
  });
  if (!stdout.subarray(0, 4).equals(ELF_MAGIC)) throw new Error(`${path} is not a kernel packed with xz`);
  return stdout;
}

function prepareRamDisk() {
  const folder = join(CACHE, `ramdisk-${process.pid}`);
  for (const name of ['bin', 'proc', 'sys', 'dev', 'm', 'lower', 'rw', 'root'])
    mkdirSync(join(folder, name), { recursive: true });
  try {
    copyFileSync('/bin/busybox', join(folder, 'bin', 'busybox'));
    copyFileSync(join(here, 'init.sh'), join(folder, 'init'));
    run('chmod', ['755', join(folder, 'init')]);
    const paths = EARLY_MODULES.flatMap((name) =>
      run('/sbin/modprobe', ['-d', join(CACHE, 'kernel'), '-S', kernelVersion(), '--show-depends', name], {
        encoding: 'utf8',
      })
        .split('\n')
        .flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []),
    );
    const unique = [...new Set(paths)];
    for (const path of unique) copyFileSync(path, join(folder, 'm', path.slice(path.lastIndexOf('/') + 1)));
    writeFileSync(join(folder, 'modules'), unique.map((path) => path.slice(path.lastIndexOf('/') + 1)).join('\n'));
    run('sh', ['-c', `find . | cpio -o -H newc --quiet | gzip -1 > ${RAM_DISK}`], { cwd: folder });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A new disk with ext4, on which nothing is stored before it is written. */
function makeDisk(path) {
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  run('/sbin/mkfs.ext4', ['-q', '-O', 'quota,project', '-E', 'quotatype=usrquota:grpquota:prjquota', path]);
}

/** The command line of QEMU for `wish` (see `boot`). */
function qemuArguments(wish) {
  const words = [
    'console=ttyS0 no_timer_check quiet panic=-1 loglevel=3 random.trust_cpu=on',
    `vm.cgroup=${wish.cgroup} vm.cache=${CACHE} vm.job=${wish.job}`,
    wish.address === undefined ? '' : `vm.address=${wish.address}`,
    wish.words ?? '',
    wish.systemd ? 'vm.systemd=1 systemd.show_status=0 systemd.mask=systemd-timesyncd.service' : '',
    wish.systemd && wish.cgroup !== 'v2' ? 'systemd.unified_cgroup_hierarchy=0' : '',
  ].join(' ');
  return [
    ...['-M', 'q35', '-cpu', 'max', ...(wish.steady ? STEADY : SWIFT)],
    ...['-m', String(wish.memoryMb ?? 1024), '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', join(CACHE, 'vmlinux'), '-initrd', RAM_DISK, '-append', words],
    ...['-device', 'virtio-rng-pci'],
    ...['-fsdev', 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=root,mount_tag=root'],
    ...['-drive', `if=virtio,format=raw,cache=unsafe,file=${wish.job}.disk`],
    ...(wish.lan === undefined
      ? []
      : [
          ...['-netdev', `socket,id=lan,mcast=${MULTICAST}:${wish.lan},localaddr=127.0.0.1`],
          ...['-device', `virtio-net-pci,netdev=lan,mac=52:54:55:00:00:${wish.mac}`],
        ]),
    ...['-serial', `file:${wish.job}.console`, '-serial', 'stdio'],
  ];
}

/**
 * Boots a machine, runs the job in it and powers it off; `onLine` gets each line that the job writes.
 *
 * @param wish `cgroup`: v2, v1 or hybrid; `job`: path of a shell script on the host, run as root; optional: `systemd`
 *   (it boots the machine), `steady` (see STEADY), `memoryMb`, `lan` (port of a multicast segment that machines
 *   share), `address` and `mac` (last two digits) on it, `words` for the kernel's command line
 * @returns the job's exit status. @throws when the machine dies before the job has ended, or after `timeoutMs`
 */
export async function boot(wish, timeoutMs, onLine) {
  makeDisk(`${wish.job}.disk`);
  const machine = spawn('qemu-system-x86_64', qemuArguments(wish), { stdio: ['ignore', 'pipe', 'pipe'] });
  let complaint = '';
  machine.stderr.on('data', (chunk) => {
    complaint += chunk;
  });
  const closed = new Promise((done) => machine.once('close', done));
  const overdue = setTimeout(() => machine.kill('SIGKILL'), timeoutMs);
  const kill = () => machine.kill('SIGKILL');
  process.once('exit', kill);
  let status;
  try {
    for await (const line of createInterface({ input: machine.stdout })) {
      const text = line.replace(/\r$/, '');
      const ended = /^vm: ended with (\d+)$/.exec(text);
      if (ended === null) onLine(text);
      else status = Number(ended[1]);
    }
    await closed;
    if (status !== undefined) return status;
    const console = existsSync(`${wish.job}.console`) ? readFileSync(`${wish.job}.console`, 'utf8') : '';
    throw new Error(`the machine died before its job had ended\n${complaint}${console.slice(-2_000)}`);
  } finally {
    clearTimeout(overdue);
    process.removeListener('exit', kill);
    for (const part of ['console', 'disk']) rmSync(`${wish.job}.${part}`, { force: true });
  }
}

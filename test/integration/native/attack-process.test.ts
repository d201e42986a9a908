/** What a hostile image or process tries: to gain privileges, to reach the kernel, to lead the core astray. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_PROCESS_RULES, type ProcessRules } from '../../../common/model/process-rules.ts';
import { builtFile, native } from '../../../native/index.ts';
import { forever, NativeWorld } from '../../support/native-world.ts';
import { OciWorld } from '../../support/oci-world.ts';

const { EPERM, EACCES, EROFS, EBADF, EFAULT, ENOSYS, EINVAL } = constants.errno;
/** Docker's default set as the kernel prints it, and nothing. */
const BOUNDING = '00000000a80425fb';
const NOTHING = '0000000000000000';

let world: NativeWorld;
/** A layer with `/bin/suid` (setuid root), `/bin/raw` (CAP_NET_RAW) and `/bin/admin` (CAP_SYS_ADMIN). */
let tempting: string;
beforeAll(() => {
  world = new NativeWorld();
  tempting = layer('tempting', 'bin');
  for (const name of ['suid', 'raw', 'admin']) copyFileSync(builtFile('test-init'), join(tempting, 'bin', name));
  chmodSync(join(tempting, 'bin', 'suid'), 0o4755);
  execFileSync(builtFile('test-init'), ['setcap', join(tempting, 'bin', 'raw'), '2000']);
  execFileSync(builtFile('test-init'), ['setcap', join(tempting, 'bin', 'admin'), '200000']);
});
afterAll(() => world.destroy());

function layer(name: string, folder: string): string {
  const path = join(world.folder, name);
  mkdirSync(join(path, folder), { recursive: true });
  return path;
}

const rules = (more: Partial<ProcessRules>) => ({ template: { process: { ...DEFAULT_PROCESS_RULES, ...more } } });

/** What user 1000 holds after running one of the tempting programs. */
function tempted(program: string, noNewPrivileges: boolean) {
  const image = { layers: [world.layer, tempting], user: '1000:1000', entrypoint: [`/bin/${program}`] };
  return world.report({ image, ...rules({ noNewPrivileges }) });
}

async function errnoOf(call: readonly (number | string)[], more: Partial<ProcessRules> = {}): Promise<number | null> {
  return (await world.ran(['call', ...call.map(String)], rules(more))).exit.code;
}

describe('a setuid program and one with file capabilities', () => {
  it('gain nothing where no_new_privs is set, as it is by default', async () => {
    for (const program of ['suid', 'raw']) {
      const facts = await tempted(program, true);
      expect([facts.get('uid'), facts.get('CapEff'), facts.get('CapPrm')], program).toEqual(['1000', NOTHING, NOTHING]);
    }
  });

  it('gain no more than the bounding set where it is not', async () => {
    const suid = await tempted('suid', false);
    expect([suid.get('CapEff'), suid.get('CapBnd')]).toEqual([BOUNDING, BOUNDING]);
    expect((await tempted('raw', false)).get('CapEff')).toBe('0000000000002000');
  });

  it('cannot be run at all when the file wants more than the bounding set', async () => {
    await expect(tempted('admin', false)).rejects.toMatchObject({ message: expect.stringContaining('EPERM') });
  });
});

/** Of x86-64. Arguments are nonsense on purpose: a call that passes the filter answers something else than EPERM. */
const FORBIDDEN: readonly (readonly [name: string, number: number])[] = [
  ['mount', 165],
  ['umount2', 166],
  ['pivot_root', 155],
  ['unshare', 272],
  ['setns', 308],
  ['fsopen', 430],
  ['fsmount', 432],
  ['move_mount', 429],
  ['open_tree', 428],
  ['mount_setattr', 442],
  ['keyctl', 250],
  ['add_key', 248],
  ['request_key', 249],
  ['bpf', 321],
  ['perf_event_open', 298],
  ['userfaultfd', 323],
  ['io_uring_setup', 425],
  ['kexec_load', 246],
  ['kexec_file_load', 320],
  ['reboot', 169],
  ['init_module', 175],
  ['finit_module', 313],
  ['delete_module', 176],
  ['open_by_handle_at', 304],
  ['iopl', 172],
  ['ioperm', 173],
  ['swapon', 167],
  ['acct', 163],
  ['quotactl', 179],
  ['settimeofday', 164],
  ['clock_settime', 227],
  ['syslog', 103],
  ['kcmp', 312],
  ['pidfd_getfd', 438],
  ['process_madvise', 440],
  ['migrate_pages', 256],
  ['move_pages', 279],
  ['vhangup', 153],
  ['nfsservctl', 180],
  ['statmount', 457],
];

describe.runIf(process.arch === 'x64')('root in a container', () => {
  it.each(FORBIDDEN)('is refused %s', async (_, number) => {
    expect(await errnoOf([number])).toBe(EPERM);
  });

  const CLONE_NEWUSER = 0x1000_0000;
  const ADDR_NO_RANDOMIZE = 0x0004_0000;
  const TIOCSTI = 0x5412;
  const AF_VSOCK = 40;

  it('makes no namespace by clone, and finds no clone3', async () => {
    expect(await errnoOf([56, CLONE_NEWUSER])).toBe(EPERM);
    expect(await errnoOf([435])).toBe(ENOSYS);
  });

  it('types into no terminal, however the request is written', async () => {
    const [ioctl, TCGETS, noFile] = [16, 0x5401, '0xffffffff'];
    expect(await errnoOf([ioctl, noFile, TCGETS])).toBe(EBADF);
    for (const request of [`0x${TIOCSTI.toString(16)}`, '0x100005412', '0xffffffff00005412'])
      expect(await errnoOf([ioctl, noFile, request]), request).toBe(EPERM);
  });

  it('reaches no hypervisor by vsock, however the family is written', async () => {
    const socket = 41;
    expect(await errnoOf([socket, 1, 1])).toBe(0);
    for (const family of [AF_VSOCK, '0x100000028', '0xffffffff00000028'])
      expect(await errnoOf([socket, family, 1]), String(family)).toBe(EPERM);
  });

  it('keeps the randomness of its addresses', async () => {
    expect(await errnoOf([135, ADDR_NO_RANDOMIZE])).toBe(EPERM);
    expect(await errnoOf([135, '0xffffffff'])).toBe(0);
  });

  it('finds the same door closed from the 32-bit side and no x32', async () => {
    const [mount32, getpid32] = ['21', '20'];
    const gate = (await world.ran(['call32', getpid32, '0'])).exit;
    // A kernel without the gate ends the program.
    if (gate.signal === null) expect((await world.ran(['call32', mount32, '0'])).exit.code).toBe(EPERM);
    else expect(gate.signal).toBe(constants.signals.SIGSEGV);
    const X32_GETPID = 0x4000_0027;
    expect(await errnoOf([X32_GETPID])).toBe(ENOSYS);
  });

  it('is let through with the capability that the call is for', async () => {
    expect(await errnoOf([165], { capAdd: ['CAP_SYS_ADMIN'] })).toBe(EFAULT);
    expect(await errnoOf([312, 1, 1, 99], { capAdd: ['CAP_SYS_PTRACE'] })).toBe(EINVAL);
    expect(await errnoOf([161])).toBe(EFAULT);
    expect(await errnoOf([161], { capDrop: ['CAP_SYS_CHROOT'] })).toBe(EPERM);
  });

  it('has all of it open when it is told to be unconfined', async () => {
    expect(await errnoOf([250, 99], { seccomp: { kind: 'unconfined' } })).not.toBe(EPERM);
  });
});

describe('the settings of the kernel', () => {
  it('cannot be written, the pattern of core dumps least of all', async () => {
    for (const path of ['/proc/sys/kernel/core_pattern', '/proc/sys/vm/overcommit_memory', '/proc/sys/kernel/panic'])
      for (const [template, errno] of [
        // In a user namespace of its own it is not even the owner.
        [{}, EACCES],
        [{ userns: 'host' }, EROFS],
      ] as const)
        expect((await world.ran(['open', path], { template })).exit.code, path).toBe(errno);
  });
});

describe('an image’s /etc/passwd', () => {
  let made = 0;
  /** Looks `user` up in an image whose files are these; a function makes something else than a file. */
  function lookUp(user: string, passwd: string | ((path: string) => void), group = '') {
    made += 1;
    const root = layer(`users${made}`, 'etc');
    const path = join(root, 'etc', 'passwd');
    if (typeof passwd === 'string') writeFileSync(path, passwd);
    else passwd(path);
    writeFileSync(join(root, 'etc', 'group'), group);
    return native().resolveUser([root, world.layer], user);
  }
  const refused = { code: 'EINVAL' };

  it('is read inside the image, wherever a link points', async () => {
    for (const target of ['/etc/passwd', '../../../../../../../../etc/passwd', '/proc/self/root/etc/passwd'])
      await expect(
        lookUp('daemon', (path) => symlinkSync(target, path)),
        target,
      ).rejects.toMatchObject(refused);
  });

  it('is read through a link while somebody renames without a pause', async () => {
    const [from, to] = [join(world.folder, 'here'), join(world.folder, 'there')];
    writeFileSync(from, '');
    const renaming = new Worker(
      `const { renameSync } = require('node:fs');
       const { from, to } = require('node:worker_threads').workerData;
       for (;;) { renameSync(from, to); renameSync(to, from); }`,
      { eval: true, workerData: { from, to } },
    );
    try {
      await once(renaming, 'online');
      for (let looks = 0; looks < 200; looks += 1) {
        const user = await lookUp('web', (path) => {
          writeFileSync(join(path, '..', 'users'), 'web:x:1234:1235::/srv:/bin/sh\n');
          symlinkSync('../../../../../../../../etc/users', path);
        });
        expect(user).toMatchObject({ uid: 1234, gid: 1235 });
      }
    } finally {
      await renaming.terminate();
    }
  });

  it('is not read when it is a device, a pipe or a folder: nothing blocks', async () => {
    const commands: readonly (readonly string[])[] = [
      ['mknod', 'PATH', 'c', '1', '5'],
      ['mkfifo', 'PATH'],
      ['mkdir', 'PATH'],
    ];
    for (const [command = '', ...args] of commands) {
      const make = (path: string) =>
        execFileSync(
          command,
          args.map((each) => (each === 'PATH' ? path : each)),
        );
      await expect(lookUp('web', make), command).rejects.toMatchObject(refused);
    }
  });

  it('takes no more than a megabyte, however long its lines', async () => {
    const before = process.memoryUsage.rss();
    await expect(lookUp('web', `${':'.repeat(64 << 20)}\nweb:x:1:1::/:\n`)).rejects.toMatchObject(refused);
    await expect(lookUp('web', `${'a'.repeat(2 << 20)}\nweb:x:1:1::/:\n`)).rejects.toMatchObject(refused);
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 << 20);
  });

  it('gives no id that is negative, too large or no number', async () => {
    for (const id of ['-1', '4294967295', '4294967296', '18446744073709551616', '0x0', ' 0', '+0', '1e3', ''])
      await expect(lookUp('web', `web:x:${id}:0::/:\n`), id).rejects.toMatchObject(refused);
    await expect(lookUp('-1', '')).rejects.toMatchObject(refused);
    await expect(lookUp('0:-1', '')).rejects.toMatchObject(refused);
  });

  it('means the first of several lines of one name, and no name with a NUL in it', async () => {
    expect(await lookUp('web', 'web:x:7:8::/a:\nweb:x:0:0::/b:\n')).toMatchObject({ uid: 7, gid: 8, home: '/a' });
    await expect(lookUp('web', 'web\0:x:0:0::/:\nw\0eb:x:0:0::/:\n')).rejects.toMatchObject(refused);
  });

  it('makes nobody root by a name that is a number', async () => {
    expect(await lookUp('1000', '1000:x:0:0::/:\n')).toMatchObject({ uid: 1000 });
    expect(await lookUp('1000:50', '', '50:x:0:\n')).toMatchObject({ uid: 1000, gid: 50 });
  });
});

describe('too much of everything', () => {
  it('is refused with the kernel’s limit when it is one argument', async () => {
    const { id } = await world.runtime.create(world.request(['x'.repeat(128 * 1024)]), forever);
    await expect(world.runtime.start(id, forever)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('128 KiB'),
    });
    expect((await world.runtime.wait(id, forever)).code).toBe(127);
  });

  it('is refused with the kernel’s limit when it is the environment as a whole', async () => {
    const env = Array.from({ length: 60 }, (_, index) => `V${index}=${'x'.repeat(100 * 1024)}`);
    await expect(world.ran(['report'], { template: { env } })).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('6 MiB'),
    });
  });

  it('is refused by the core with its field before anything is made of it', async () => {
    const oci = new OciWorld();
    try {
      const huge = 'x'.repeat(20 << 20);
      await expect(oci.created(['report'], { process: { env: [`A=${huge}`] } })).rejects.toMatchObject({
        message: expect.stringContaining('process.env'),
      });
      await expect(oci.created(['report'], { process: { cwd: 'a\0b' } })).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(oci.created(['report'], { process: { cwd: `/${'../'.repeat(2_000)}` } })).rejects.toThrow();
      await expect(oci.created(['report'], { process: { cwd: '../../..' } })).rejects.toMatchObject({ code: 'EINVAL' });
    } finally {
      await oci.destroy();
    }
  });
});

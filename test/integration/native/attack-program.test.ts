/**
 * What a container tries against the programs that run it: the shim's executable (CVE-2019-5736), its memory, the agent.
 * The shim is a copy on disk here, so that a successful attack destroys nothing else.
 */
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtFile, native } from '../../../native/index.ts';
import { outputOf, until } from '../../support/native-world.ts';
import { type OciContainer, OciWorld } from '../../support/oci-world.ts';
import { templatesOf } from '../../support/shim-template.ts';

const { EACCES } = constants.errno;
const ROUNDS = 10;
const ALL = ['CAP_SYS_PTRACE', 'CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH', 'CAP_FOWNER', 'CAP_CHOWN'];
/** Root with the host's ids and more rights than it may have by any default. */
const MIGHTY = {
  process: { capabilities: { bounding: ALL, effective: ALL, permitted: ALL } },
  linux: { seccomp: undefined },
};

const folder = mkdtempSync(join(tmpdir(), `covey-test-${process.pid}-`));
const shimPath = join(folder, 'shim');
let world: OciWorld;
beforeAll(() => {
  copyFileSync(builtFile('covey-shim'), shimPath);
  world = new OciWorld(shimPath);
});
afterAll(async () => {
  await world.destroy();
  rmSync(folder, { recursive: true });
});

/** The linux part of a container that sees, and is seen by, the processes of `of`, or of the host. */
function withProcessesOf(of: OciContainer | 'host'): object {
  const own = ['network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type }));
  const joined = of === 'host' ? [] : [{ type: 'pid', path: `/proc/${of.identity.pid}/ns/pid` }];
  return { seccomp: undefined, namespaces: [...own, ...joined] };
}

/** How an attempt to change an open file ends. */
function writing(fd: number): string | undefined {
  try {
    writeFileSync(`/proc/self/fd/${fd}`, '#!/evil', { flag: 'r+' });
    return 'done';
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code;
  }
}

describe('the program that runs a container', () => {
  it('cannot be changed by one that gets hold of it (CVE-2019-5736)', async () => {
    const before = readFileSync(shimPath);
    const attacker = await world.started(['grab'], MIGHTY);
    await world.said(attacker, 'ready');
    const linux = withProcessesOf(attacker);
    for (let round = 0; round < ROUNDS; round += 1) {
      // Until it is started, its first process is the shim's program.
      const victim = await world.created([], { linux, process: { args: ['/proc/self/exe'] } });
      await world.said(attacker, 'grabbed');
      await native().containerStart(victim.stateDir);
      expect(await world.ended(victim)).toBe(2);
      expect((await world.exec(attacker, ['/proc/self/exe'])).exitCode).toBe(2);
    }
    native().signal(attacker.identity.pid, attacker.identity.startTime, constants.signals.SIGTERM);
    expect(await world.ended(attacker)).toBe(0);
    expect(outputOf(attacker)).toContain('\nwritten=0 ');
    expect(readFileSync(shimPath).equals(before)).toBe(true);
  });

  it('is sealed: when no container runs it any more, not even the host’s root can write to what was grabbed', async () => {
    const container = await world.started(['sleep']);
    const grabbed = openSync(`/proc/${container.identity.shimPid}/exe`, 'r');
    try {
      native().signal(container.identity.pid, container.identity.startTime, constants.signals.SIGKILL);
      await world.ended(container);
      // What shims are copied from runs it too, as long as we live.
      for (const template of templatesOf(process.pid)) process.kill(template, 'SIGKILL');
      // A helper of the test before may still be about to end.
      await until(() => writing(grabbed) !== 'ETXTBSY', 'nothing runs the program');
      expect(writing(grabbed)).toBe('EPERM');
    } finally {
      closeSync(grabbed);
    }
  });

  it('is out of reach for root with the usual capabilities, even where it sees the host’s processes', async () => {
    const linux = withProcessesOf('host');
    const top = { hostname: '' };
    const bystander = await world.started(['sleep'], { linux, top });
    const { pid, shimPid } = bystander.identity;
    expect((await world.ran(['open', `/proc/${pid}/mem`], { linux, top })).code).toBe(0);
    for (const path of [
      `${shimPid}/mem`,
      `${process.pid}/mem`,
      '1/mem',
      `${shimPid}/root/etc`,
      `${shimPid}/fd/0`,
      '1/root/etc',
    ])
      expect((await world.ran(['open', `/proc/${path}`], { linux, top })).code, path).toBe(EACCES);
  });
});

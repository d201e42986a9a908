/** What a container tries against a command that joins it, and what a command may find of the host's. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ExecSession, OpenExecRequest } from '../../../agent/runtime/exec.ts';
import type { Container } from '../../../agent/runtime/runtime.ts';
import { DEFAULT_PROCESS_RULES, type ProcessRules } from '../../../common/model/process-rules.ts';
import type { ContainerTemplate } from '../../../common/model/service.ts';
import { heard, openExec } from '../../support/exec-world.ts';
import { leftovers } from '../../support/native-leftovers.ts';
import { forever, NativeWorld } from '../../support/native-world.ts';
import { testFile } from '../../support/test-file.ts';
import { until } from '../../support/until.ts';

const { EPERM, ETXTBSY } = constants.errno;
const SETTLED_MS = 10_000;
const RACES = 40;
const MARK = `attack-exec-${process.pid}-`;
/** Sync points of the process that joins: just inside, and just before its exec. */
const STAGES = ['exec.child', 'exec.ready'] as const;

let world: NativeWorld;
let made = 0;
beforeAll(() => {
  world = new NativeWorld({ shimPath: testFile('covey-shim-faults') });
  world.addShell();
});
afterAll(() => world.destroy());
afterEach(async () => {
  for (const { id } of await world.runtime.list(forever)) await world.runtime.remove(id);
  await nothingIsLeft();
});

async function nothingIsLeft(): Promise<void> {
  let left: readonly string[] = [];
  const settled = async () => {
    left = await leftovers(world, MARK);
    return left.length === 0;
  };
  await until('nothing is left', SETTLED_MS, settled).catch((cause: unknown) => {
    throw new Error(`left behind:\n${left.join('\n')}`, { cause });
  });
}

/** No filter: what is tried here must fail by itself. */
const unfiltered = (rules: Partial<ProcessRules> = {}): ProcessRules => ({
  ...DEFAULT_PROCESS_RULES,
  seccomp: { kind: 'unconfined' },
  ...rules,
});

async function started(template: Partial<ContainerTemplate> = {}): Promise<Container> {
  made += 1;
  const request = world.request(['sleep'], { template: { process: unfiltered(), ...template } });
  const { id } = await world.runtime.create({ ...request, id: `${MARK}${made}` }, forever);
  return world.runtime.start(id, forever);
}

const run = (id: string, args: readonly string[], wanted: Partial<OpenExecRequest> = {}) =>
  openExec(world.runtime, id, args, wanted);

const init = async (id: string, args: readonly string[], wanted: Partial<OpenExecRequest> = {}) =>
  heard(await run(id, ['/bin/init', ...args], wanted));

/** `key=value` lines. */
const facts = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const),
  );

function statOf(pid: string): { readonly comm: string; readonly state: string; readonly parent: string } {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { comm: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')), state, parent };
  } catch {
    return { comm: '', state: '', parent: '' };
  }
}

/** Host pid of a helper of ours, or of what it has cloned, that has stopped at a sync point. */
function stopped(): Promise<number> {
  const isOurs = (pid: string): boolean => {
    const { parent } = statOf(pid);
    return parent === String(process.pid) || statOf(parent).parent === String(process.pid);
  };
  return until('it has stopped', SETTLED_MS, () => {
    const found = readdirSync('/proc').find((pid) => {
      const { comm, state } = statOf(pid);
      return comm === 'covey-exec' && state === 'T' && isOurs(pid);
    });
    return found === undefined ? undefined : Number(found);
  });
}

interface Joining {
  readonly session: Promise<ExecSession>;
  readonly pid: number;
  goOn(): void;
}

/** A command that stands still at a sync point. */
async function joining(id: string, point: string, args: readonly string[], wanted: Partial<OpenExecRequest> = {}) {
  const env = [`COVEY_FAULT=${point}:stop`, ...(wanted.env ?? [])];
  const session = run(id, args, { ...wanted, env });
  session.catch(() => {});
  const pid = await stopped();
  return { session, pid, goOn: () => process.kill(pid, 'SIGCONT') } satisfies Joining;
}

const hashOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

describe.each(STAGES)('a command that joins, at %s', (stage) => {
  // CVE-2016-9962. Its memory and executable are the host's until it has become the container's command.
  it.each([
    ['root with every capability, in a user namespace', { process: unfiltered({ capAdd: ['ALL'] }) }, {}],
    ["root with the host's ids", { userns: 'host' }, {}],
    ['the same user', { userns: 'host' }, { user: 'guest' }],
  ] as const)('is out of reach for %s', async (_, template, wanted) => {
    const { id } = await started(template);
    const joiner = await joining(id, stage, ['/bin/init', 'exit', '3'], wanted);
    const tried = await init(id, ['stalk', 'covey-exec'], wanted);
    joiner.goOn();
    expect((await heard(await joiner.session)).code).toBe(3);
    const { was, ...ways } = Object.fromEntries(facts(tried.out.trim()));
    expect(was, tried.out).toBe('1');
    expect(Object.keys(ways)).toHaveLength(10);
    expect(Object.entries(ways).filter(([, errno]) => errno === '0')).toEqual([]);
  });

  it('dies when its helper does, and never runs', async () => {
    const { id } = await started();
    const joiner = await joining(id, stage, ['sh', '-c', 'echo ran > /tmp/ran']);
    const helper = Number(statOf(String(joiner.pid)).parent);
    process.kill(helper, 'SIGKILL');
    await expect(joiner.session).rejects.toThrow(/ended without an answer/);
    if (statOf(String(joiner.pid)).state === 'T') joiner.goOn();
    await until('it has gone', SETTLED_MS, () => statOf(String(joiner.pid)).comm !== 'covey-exec');
    expect((await heard(await run(id, ['cat', '/tmp/ran']))).code).toBe(1);
  });

  it('ends with an error when the container is removed, and leaves nothing', async () => {
    const { id } = await started();
    const joiner = await joining(id, stage, ['sleep', '1000']);
    await world.runtime.remove(id);
    const ending = joiner.session.then(({ ended }) => ended);
    expect(await ending.catch((cause: { code: string }) => cause.code)).toBe(137);
    await nothingIsLeft();
  });
});

describe('the executable of the shim', () => {
  // CVE-2019-5736, for an attacker who may open it: the strongest there is, with the host's ids.
  it('cannot be overwritten through a command that joins, nor later', async () => {
    const before = hashOf(testFile('covey-shim-faults'));
    const { id } = await started({ userns: 'host', process: unfiltered({ privileged: true }) });
    const joiner = await joining(id, 'exec.ready', ['/bin/init', 'exit', '0']);
    const inside = /^NSpid:.*\t(\d+)$/m.exec(readFileSync(`/proc/${joiner.pid}/status`, 'utf8'))?.[1];
    const path = `/proc/${inside}/exe`;
    expect((await init(id, ['overwrite', path])).out).toBe(`open=${ETXTBSY}\n`);
    const holder = await run(id, ['/bin/init', 'hold', path]);
    const output = holder.output[Symbol.asyncIterator]();
    expect(Buffer.from((await output.next()).value?.bytes ?? []).toString()).toBe('ready\n');
    joiner.goOn();
    expect((await heard(await joiner.session)).code).toBe(0);
    await heard(
      await run(id, ['sh', '-c', 'kill -TERM $(ps | grep "[i]nit hold" | while read p r; do echo $p; done)']),
    );
    let said = '';
    for (let next = await output.next(); next.done !== true; next = await output.next()) {
      said += Buffer.from(next.value.bytes).toString();
    }
    // Nothing of ours runs it any more but the container's shim and this helper, or nobody at all.
    expect([`open=${ETXTBSY}\n`, `open=0\nwrite=${EPERM}\ntruncate=${EPERM}\n`]).toContain(said);
    expect(hashOf(testFile('covey-shim-faults'))).toBe(before);
  });
});

describe('a command in a container', () => {
  const kinds: readonly (readonly [string, Partial<OpenExecRequest>])[] = [
    ['on pipes', {}],
    ['on a terminal', { terminal: { rows: 24, columns: 80 } }],
    ['with privileges', { privileged: true }],
    ['of another user', { user: 'guest' }],
  ];

  // CVE-2024-21626.
  it.each(kinds)('has its three streams and no other descriptor, %s', async (_, wanted) => {
    const { id } = await started();
    const report = facts((await init(id, ['report'], wanted)).out.replaceAll('\r', ''));
    expect([...report.keys()].filter((key) => key.startsWith('fd.'))).toEqual(['fd.0', 'fd.1', 'fd.2']);
  });

  it('starts in no folder that a descriptor of ours leads to', async () => {
    const { id } = await started();
    for (let fd = 3; fd < 24; fd += 1) {
      for (const workdir of [`/proc/self/fd/${fd}`, `/proc/self/fd/${fd}/..`, `/proc/1/fd/${fd}`]) {
        await expect(run(id, ['/bin/init', 'report'], { workdir }), workdir).rejects.toThrow(/working directory/);
      }
    }
  });

  it('is in every namespace of the container, and nobody’s child there', async () => {
    for (const template of [{}, { userns: 'host' } as const]) {
      const { id } = await started(template);
      const own = facts((await init(id, ['report'])).out);
      const links = (await init(id, ['report'])).out.split('\n').filter((line) => line.startsWith('ns.'));
      expect(links).toHaveLength(8);
      const { out } = await heard(await run(id, ['sh', '-c', 'cd /proc/1/ns; for n in *; do ls -l $n; done'], {}));
      for (const kind of ['pid', 'mnt', 'uts', 'ipc', 'net', 'cgroup', 'user']) {
        expect(out, kind).toContain(own.get(`ns.${kind}`));
      }
      expect(own.get('ppid')).toBe('0');
      expect(Number(own.get('pid'))).toBeGreaterThan(1);
    }
  });

  it('shows its variables to nobody with fewer rights', async () => {
    const { id } = await started();
    const session = await run(id, ['/bin/init', 'sleep'], { env: ['SECRET=of-root'] });
    const output = session.output[Symbol.asyncIterator]();
    await output.next();
    const all = 'cat /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n"';
    expect((await heard(await run(id, ['sh', '-c', all]))).out).toContain('SECRET=of-root');
    expect((await heard(await run(id, ['sh', '-c', all], { user: 'guest' }))).out).not.toContain('SECRET');
    session.kill();
    await session.ended;
  });
});

describe('a container that is being torn down', () => {
  it('takes no command that is not on the way already, and each of those ends', async () => {
    const { id } = await started();
    const joiner = await joining(id, 'exec.joined', ['sleep', '1000']);
    await world.runtime.remove(id);
    joiner.goOn();
    await expect(joiner.session).rejects.toMatchObject({ code: 'conflict' });
    await nothingIsLeft();
  });

  it('ends every command of a race with an exit code or a clear error, and leaves nothing', async () => {
    const outcomes = new Set<string>();
    for (let race = 0; race < RACES; race += 1) {
      const { id } = await started();
      const sessions = [1, 2].map(() => run(id, ['sleep', '1000'], race % 2 ? { terminal: null } : {}));
      const ends = sessions.map((session) =>
        session.then(({ ended }) => ended).catch((cause: { code: string }) => cause.code),
      );
      // Each round lets them get a little further before the end, the last all the way.
      for (let turn = 0; turn < race; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      if (race === RACES - 1) await Promise.all(sessions);
      await world.runtime.remove(id);
      for (const outcome of await Promise.all(ends)) outcomes.add(String(outcome));
    }
    expect([...outcomes].filter((outcome) => !['137', 'conflict', 'not_found'].includes(outcome))).toEqual([]);
    expect(outcomes).toContain('137');
    await nothingIsLeft();
  });
});

/** The border to C++: one list of functions, complete errors, nothing that leaks or waits. */
import { readdirSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, expect, it } from 'vitest';
import { type Addon, FUNCTIONS, listed, native } from '../../../native/index.ts';
import { forever, NativeWorld, until } from '../../support/native-world.ts';
import { testFile } from '../../support/test-file.ts';

const world = new NativeWorld();
afterAll(() => world.destroy());

const addon = native();
const shimPath = testFile('covey-shim');
/** Above every pid that Linux gives. */
const NO_PID = 4_194_305;
const exec = { cgroup: '/covey-none', timeoutMs: 1_000, outputMaxBytes: 100, shimPath };
const stream = {
  cgroup: '/covey-none',
  shimPath,
  terminal: false,
  rows: 0,
  columns: 0,
  stdin: true,
  detached: false,
  privileged: false,
};
const command = JSON.stringify({
  ociVersion: '1.0.2',
  process: { args: ['/bin/init'], cwd: '/', user: { uid: 0, gid: 0 } },
});

/** What a call throws or its promise rejects with. */
async function failureOf(call: () => unknown): Promise<Error> {
  try {
    await call();
  } catch (cause) {
    if (cause instanceof Error) return cause;
  }
  throw new Error('it did not fail');
}

const COMPLETE = {
  code: expect.stringMatching(/^E[A-Z]+$/),
  errno: expect.any(Number),
  syscall: expect.stringMatching(/./),
};

function isTextOrNull(value: unknown): boolean {
  return value === null || (typeof value === 'string' && value !== '');
}

function expectComplete(error: Error): void {
  expect(error).toMatchObject(COMPLETE);
  const { path, step } = error as Error & { readonly path?: unknown; readonly step?: unknown };
  expect([isTextOrNull(path), isTextOrNull(step)], `${error.message}: path ${path}, step ${step}`).toEqual([
    true,
    true,
  ]);
}

it('is one list of functions, in the order of the C++ files', () => {
  expect(Object.keys(addon)).toEqual(FUNCTIONS);
});

it('loads no addon with other functions, and says which', () => {
  const { links: _, ...fewer } = addon;
  const refused = (found: object) => () => listed(found as Addon, 'covey.node');
  expect(refused(fewer)).toThrow('covey.node is of another version: lacks links');
  expect(refused({ ...addon, fly: 1 })).toThrow('has fly');
  expect(refused(Object.fromEntries(Object.entries(addon).reverse()))).toThrow('in another order');
});

const takesNothing: readonly string[] = ['bootId', 'links', 'nftGeneration', 'sha256Open'];

it.each(FUNCTIONS.filter((name) => !takesNothing.includes(name)))(
  '%s tells of a value of the wrong type',
  async (name) => {
    const call = addon[name] as (...values: readonly unknown[]) => unknown;
    const error = await failureOf(() => call());
    expectComplete(error);
    expect(error).toMatchObject({ code: 'EINVAL', errno: -22 });
  },
);

const FAILURES: readonly (readonly [name: string, call: () => unknown, fields: object])[] = [
  ['no cgroup', () => addon.cgroupStats('/covey-none'), { code: 'ENOENT' }],
  ['no JSON', () => addon.cgroupUpdate('/covey-none', '{'), { code: 'EINVAL' }],
  ['no config', () => addon.containerCreate('{', options()), { code: 'EINVAL', path: 'config' }],
  ['a field', () => addon.containerCreate('{"ociVersion":"1.0.2"}', options()), { code: 'EINVAL', step: null }],
  ['no container', () => addon.containerStart('/nowhere'), { code: 'ENOENT', path: '/nowhere', errno: -2 }],
  ['no container to resize', () => addon.containerResize('/nowhere', 1, 1), { code: 'ENOENT' }],
  ['nobody to exec in', () => addon.containerExec(NO_PID, 1, command, exec), { code: 'ESRCH' }],
  ['nobody to stream from', () => addon.containerExecStream(NO_PID, 1, command, stream), { code: 'ESRCH' }],
  ['a lack of layers', () => addon.resolveUser(['/nowhere'], 'web'), { code: 'ENOENT', path: '/nowhere' }],
  ['no folder above', () => addon.makeFolder('/nowhere/x', []), { code: 'ENOENT' }],
  ['a closed root', () => addon.layerApply(-1, addon.layerBatch([layerOp()])), { code: 'EBADF' }],
  ['a closed file', () => addon.syncFileSystem(-1), { code: 'EBADF', path: null }],
  ['a closed pipe', () => addon.waitingBytes(-1), { code: 'EBADF' }],
  ['no network namespace', () => addon.attachVeth(veth()), { code: 'ENOENT', path: `/proc/${NO_PID}/ns/net` }],
  ['no language', () => addon.runNft('fly me', false), { syscall: 'nft' }],
  ['nobody to notify', () => addon.notify('/nowhere', 'READY=1'), { code: 'ENOENT', path: '/nowhere' }],
  ['no signal', () => addon.signal(process.pid, addon.startTime(process.pid) ?? 0, 999), { code: 'EINVAL' }],
];

function options() {
  const paths = { stateDir: world.folder, logPath: '/dev/null', shimPath, layers: [] };
  const log = { logMaxBytes: 1, logFiles: 1, logFormat: 'none', logBufferBytes: 0 } as const;
  return {
    id: 'x',
    restart: null,
    input: false,
    inputOnce: false,
    overlayMode: 'auto',
    volatile: true,
    reaper: false,
    ...paths,
    ...log,
  } as const;
}

function layerOp() {
  const common = { uid: 0, gid: 0, seconds: 0, nanos: 0, last: true, body: null, xattrs: [] };
  const numbers = { offset: 0, size: 0, major: 0, minor: 0 };
  return { kind: 2, path: 'a', link: '', mode: 0o755, ...common, ...numbers } as const;
}

function veth() {
  const addresses = { address: '10.9.9.2', gateway: '10.9.9.1', hostAddress: '10.9.9.1' };
  const macs = { hostMac: '02:00:00:00:00:01', containerMac: '02:00:00:00:00:02' };
  return {
    name: 'cv-border',
    pid: NO_PID,
    mtu: 1500,
    protocol: 200,
    egressBits: null,
    ingressBits: null,
    ...addresses,
    ...macs,
  };
}

it.each(FAILURES)('tells all of a failure: %s', async (_, call, fields) => {
  const error = await failureOf(call);
  expectComplete(error);
  expect(error).toMatchObject(fields);
});

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}

function threads(): number {
  return readdirSync('/proc/self/task').length;
}

/** Children of this process that have ended and that nobody has reaped. */
function zombies(): readonly string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'latin1');
      const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ');
      return state === 'Z' && Number(parent) === process.pid;
    } catch {
      return false; // It has gone while we looked.
    }
  });
}

it('keeps no descriptor, thread or child of calls that fail', async () => {
  const container = await world.started(['sleep']);
  await world.said(container, 'ready');
  const missing = { args: ['/nowhere'], env: [], timeoutMs: 1_000, outputMaxBytes: 100 };
  const once = async () => {
    for (const [, call] of FAILURES) await failureOf(call);
    await failureOf(() => world.runtime.exec(container.id, missing, forever));
  };
  await once();
  const before = [openFiles(), threads()];
  for (let round = 0; round < 10; round += 1) await once();
  await until(() => zombies().length === 0, 'no zombie is left');
  await until(() => openFiles() <= (before[0] ?? 0), 'no descriptor is left');
  expect(threads()).toBeLessThanOrEqual(before[1] ?? 0);
});

it('gives each of many calls its own answer while the heap is cleaned', async () => {
  const container = await world.started(['sleep']);
  await world.said(container, 'ready');
  setFlagsFromString('--expose-gc');
  const clean = runInNewContext('gc') as () => void;
  const answers = Array.from({ length: 24 }, async (_, number) => {
    const request = { args: ['/bin/init', 'text', `n${number}`], env: [], timeoutMs: 20_000, outputMaxBytes: 100 };
    const { output } = await world.runtime.exec(container.id, request, forever);
    clean();
    return output.trim();
  });
  expect(await Promise.all(answers)).toEqual(Array.from({ length: 24 }, (_, number) => `n${number}`));
  await until(() => zombies().length === 0, 'no zombie is left');
});

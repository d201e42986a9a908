/** What users and operators get wrong: refused at the door, naming the object, the cause and the next step. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Status } from '../../deploy/dev/status.ts';
import { background } from '../support/background.ts';
import { DevCluster, type Said, say } from '../support/dev-cluster.ts';
import { until } from '../support/until.ts';

const AGENT = 'dist/agent/main.js';
const MANAGER = 'dist/manager/main.js';

let cluster: DevCluster;
let status: Status;
let scratch: string;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'covey-bad-'));
  cluster = await DevCluster.up('--hosts', '1');
  status = await cluster.status();
  await cluster.must('service', 'create', '--name', 'web', '-p', '8080:80', '--quiet', 'web:1');
});
afterAll(async () => {
  rmSync(scratch, { recursive: true, force: true });
  await cluster?.clean();
});

describe('the command line', () => {
  it.each([
    [['service', 'create', '--frobnicate', 'web:1'], /--frobnicate/],
    [['service', 'create', '--mount', 'type=bind,src=/,dst=/x', 'web:1'], /--mount/],
    [['service', 'create', '--network', 'blue', 'web:1'], /--network/],
    [['service', 'create', '--replicas', '-1', 'web:1'], /--replicas/],
    [['service', 'create', '-p', '99999:80', 'web:1'], /99999/],
    [['service', 'create', '--restart-delay', '5', 'web:1'], /--restart-delay/],
    [['service', 'create', '--reserve-memory', '1q', 'web:1'], /--reserve-memory/],
    [['service', 'create', '--update-order', 'both', 'web:1'], /--update-order/],
    [['service', 'create', '--update-max-failure-ratio', '2', 'web:1'], /--update-max-failure-ratio/],
    [['service', 'create', '--env-file', '/nowhere', 'web:1'], /--env-file.*\/nowhere|\/nowhere/],
    [['service', 'scale', 'web'], /SERVICE=REPLICAS/],
    [['node', 'update', '--availability', 'gone', 'n1'], /--availability/],
    [['image', 'load', '/nowhere.tar'], /\/nowhere\.tar/],
    [['service', 'logs', '--since', 'yesterday', 'web'], /--since/],
    [['events', '--type', 'weather'], /--type.*weather/],
    [['service', 'frobnicate'], /frobnicate/],
    [['service'], /command is missing/],
  ])('%j is a usage error, exit code 2', async (args, complaint) => {
    const said = await cluster.covey(...args);
    expect(said.code, said.err).toBe(2);
    expect(said.err).toMatch(complaint);
    expect(said.err).not.toMatch(/\n\s+at /);
  });

  it.each([
    [['service', 'create', '--detach', '--name', 'no spaces', 'web:1'], /name/],
    [['service', 'create', '--detach', '--name', 'web', 'web:1'], /"web"/],
    [['service', 'create', '--detach', '--name', 'other', '-p', '8080:80', 'web:1'], /8080.*"web"/],
    [
      ['service', 'create', '--detach', '--name', 'other', '127.0.0.1:1/nowhere:1'],
      /registry 127.0.0.1:1 cannot be reached/,
    ],
    [['service', 'create', '--detach', '--name', 'other', '--constraint', 'node.hostname=n1', 'web:1'], /constraint/],
    [['service', 'update', '--image', 'web:2', 'nobody'], /nobody/],
    [['service', 'inspect', 'nobody'], /nobody/],
    [['service', 'rm', 'nobody'], /nobody/],
    [['service', 'logs', 'nobody'], /nobody/],
    [['node', 'rm', 'n1'], /n1.*--force/s],
    [['node', 'inspect', 'n9'], /n9/],
    [['image', 'rm', 'web:1'], /web/],
  ])('%j is refused with the reason, exit code 1', async (args, complaint) => {
    const said = await cluster.covey(...args);
    expect([1, 2], said.err).toContain(said.code);
    expect(said.err).toMatch(complaint);
    expect(said.err).not.toMatch(/\n\s+at /);
  });

  it('says which context file is missing, and that no manager answers', async () => {
    const none = await say(process.execPath, ['dist/cli/main.js', '--context', '/nowhere.json', 'service', 'ls']);
    expect(none).toMatchObject({ code: 1 });
    expect(none.err).toContain('/nowhere.json');
    const context = JSON.parse(readFileSync(status.context, 'utf8')) as object;
    const deaf = join(scratch, 'deaf.json');
    writeFileSync(deaf, JSON.stringify({ ...context, managers: ['127.0.0.1:1'] }), { mode: 0o600 });
    const silent = await cluster.covey('--context', deaf, 'service', 'ls');
    expect(silent).toMatchObject({ code: 1 });
    expect(silent.err).toContain('127.0.0.1:1');
  });
});

describe('a program’s settings', () => {
  const settings = (text: string): string => {
    const file = join(scratch, 'settings.json');
    writeFileSync(file, text);
    return file;
  };

  it.each([MANAGER, AGENT])('%s names the line of an unknown key and exits with 2', async (program) => {
    const file = settings('{\n  "log-level": "info",\n  "stat-dir": "/x"\n}\n');
    const said = await say(process.execPath, [program, 'run', '--config', file]);
    expect(said).toMatchObject({ code: 2 });
    expect(said.err).toContain(`${file}:3: unknown key "stat-dir"`);
  });

  it.each([
    [['run', '--frobnicate'], /--frobnicate/],
    [['run', '--listen', 'everywhere'], /--listen/],
    [['run', '--etcd-quota-bytes', '5'], /--etcd-quota-bytes/],
    [['init', '--cert-expiry', '5m', '--advertise', '127.0.0.1:2377'], /cert-expiry/],
    [['init', '--default-addr-pool', 'ten', '--advertise', '127.0.0.1:2377'], /default-addr-pool/],
    [['run', '--unsafe-skip-drain'], /unsafe-skip-drain/],
    [['run', '--etcd', 'http://127.0.0.1:2379'], /TLS/],
    [['dance'], /dance/],
  ])('covey-manager %j exits with 2', async (args, complaint) => {
    const dirs = ['--state-dir', join(scratch, 'manager'), '--run-dir', join(scratch, 'run')];
    const context = args[0] === 'init' ? ['--context', join(scratch, 'context.json')] : [];
    const said = await say(process.execPath, [MANAGER, ...args, ...dirs, ...context]);
    expect(said.code, said.err).toBe(2);
    expect(said.err).toMatch(complaint);
  });
});

describe('an image archive', () => {
  /** web:1’s archive with its bytes changed by `spoil`. */
  const archive = (spoil: (bytes: Buffer) => Buffer): string => {
    const file = join(scratch, 'spoilt.tar');
    writeFileSync(file, spoil(readFileSync(join(cluster.dir, 'images', 'web-1.tar'))));
    return file;
  };
  const load = (file: string): Promise<Said> => cluster.covey('image', 'load', file);

  it('with a changed byte in a layer is refused, naming the digest', async () => {
    const said = await load(
      archive((bytes) => {
        // The largest entry is the layer; its middle is compressed content.
        const changed = Buffer.from(bytes);
        const middle = Math.floor(bytes.length / 2);
        changed.writeUInt8(changed.readUInt8(middle) ^ 0xff, middle);
        return changed;
      }),
    );
    expect(said).toMatchObject({ code: 1 });
    expect(said.err).toMatch(/sha256:[0-9a-f]{12}/);
  });

  it('that is cut off or no archive at all is refused', async () => {
    const cut = await load(archive((bytes) => bytes.subarray(0, 4_000)));
    expect(cut).toMatchObject({ code: 1 });
    const text = await load(archive(() => Buffer.from('this is no archive\n'.repeat(100))));
    expect(text).toMatchObject({ code: 1 });
    for (const said of [cut, text]) expect(said.err).not.toMatch(/\n\s+at |internal/);
  });

  it('is taken with gzip around it as well', async () => {
    const said = await load(archive((bytes) => gzipSync(bytes)));
    expect(said.code, said.err).toBe(0);
    expect(gunzipSync(readFileSync(join(scratch, 'spoilt.tar'))).length).toBeGreaterThan(0);
  });
});

describe('`covey-agent join`', () => {
  const join_ = (token: string, address = status.managers[0]?.address ?? ''): Promise<Said> => {
    const dirs = ['--state-dir', join(scratch, 'joiner')];
    return say(process.execPath, [AGENT, 'join', ...dirs, '--token', token, address]);
  };
  const token = async (...flags: readonly string[]): Promise<string> =>
    (await cluster.must('cluster', 'token', '--quiet', ...flags)).trim();

  it('refuses a malformed token, a wrong one and a rotated one, and never repeats it', async () => {
    const old = await token();
    const malformed = await join_('not-a-token');
    expect(malformed.code, malformed.err).toBe(2);
    const wrong = await join_(`${old.slice(0, -3)}${old.endsWith('aaa') ? 'bbb' : 'aaa'}`);
    expect(wrong, wrong.err).toMatchObject({ code: 1 });
    expect(await token('--rotate')).not.toBe(old);
    const rotated = await join_(old);
    expect(rotated).toMatchObject({ code: 1 });
    expect(rotated.err).toMatch(/token/);
    for (const said of [malformed, wrong, rotated]) expect(said.out + said.err).not.toContain(old);
  });

  it('refuses a token of another cluster, and says who does not answer', async () => {
    const [version, , ...rest] = (await token()).split('-');
    const alien = await join_([version, 'f'.repeat(64), ...rest].join('-'));
    expect(alien.code).not.toBe(0);
    const silent = await join_(await token(), '127.0.0.1:1');
    expect(silent).toMatchObject({ code: 1 });
    expect(silent.err).toMatch(/127\.0\.0\.1:1.*firewall/s);
  });

  it('is refused on a host that is a node already', async () => {
    const host = status.hosts[0];
    const args = [AGENT, 'join', '--state-dir', host?.stateDir ?? '', '--token', await token()];
    const said = await say(process.execPath, [...args, status.managers[0]?.address ?? '']);
    expect(said).toMatchObject({ code: 1 });
    expect(said.err).toMatch(/already.*covey-agent leave/s);
  });
});

describe('a manager', () => {
  it('that is started or made twice on one directory says so, and the first goes on', async () => {
    const dirs = ['--state-dir', join(cluster.dir, 'm1'), '--run-dir', join(scratch, 'run')];
    const on = (...args: readonly string[]) =>
      cluster.door('exec', 'm1', '--', process.execPath, MANAGER, ...args, ...dirs);
    const context = join(scratch, 'again.json');
    // Each waits ten seconds for the first one to go: together.
    await Promise.all([
      expect(on('run', '--listen', '127.0.0.1:2399')).rejects.toThrow(/another manager runs on .*m1.*--state-dir/s),
      expect(on('init', '--advertise', '127.0.0.1:2377', '--context', context)).rejects.toThrow(/m1/),
    ]);
    await cluster.must('service', 'ls');
  });
});

describe('exit codes', () => {
  it('are 0 for what is done, 4 for a deadline that has passed and 130 for Ctrl-C', async () => {
    const never = ['--detach', '--name', 'never', '--health-cmd', 'exit 1', '--health-interval', '1s', 'web:1'];
    expect((await cluster.covey('service', 'create', ...never)).code).toBe(0);
    const late = await cluster.covey('service', 'update', '--timeout', '1s', '--env-add', 'A=1', 'never');
    expect(late.code, late.err).toBe(4);
    expect(late.err).toMatch(/never.*1s/);
    await cluster.must('service', 'rm', 'never');
  });

  it('are 130 for Ctrl-C, and the service goes on', async () => {
    const env = { ...process.env, COVEY_CONTEXT: status.context };
    const events = background(process.execPath, ['dist/cli/main.js', 'events', '--since', '1h'], env);
    try {
      await until('it shows events', 20_000, () => events.said().includes('task running'));
      events.signal('SIGINT');
      expect(await until('it has ended', 10_000, () => events.code())).toBe(130);
    } finally {
      events.signal('SIGKILL');
    }
    await until('web runs', 5_000, async () => (await cluster.running('web')).length === 1);
  });
});

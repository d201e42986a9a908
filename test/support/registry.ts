/** Registries for tests: Debian's docker-registry on loopback, with TLS and a login where wanted, filled by skopeo. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { until } from './until.ts';

const run = promisify(execFile);

/** For what asks no registry. */
export const noRegistry = (): never => expect.fail('a registry was asked for');

export const LOGIN = { username: 'ada', password: 'engine' } as const;
/** That of LOGIN, bcrypt: the one kind that docker-registry takes. */
const HTPASSWD = 'ada:$2b$05$8FTEf.aL.WQQjdtGRHmW.eIB.1OCFj4MR6cagSrGjtdynbfxI5qru\n';
/** 127.0.0.1, for whom a loopback address is too trusted: it needs TLS like any other host. */
const STRANGE_LOOPBACK = '2130706433';

interface Wish {
  readonly tls?: boolean;
  /** Nobody is let in without LOGIN. */
  readonly login?: boolean;
  /** A network namespace of /run/netns, whose loopback it is on; ours when none is named. */
  readonly netns?: string;
}

/** A command there. */
function inside({ netns }: Wish, program: string, ...args: readonly string[]): [string, ...string[]] {
  return netns === undefined ? [program, ...args] : ['nsenter', `--net=/run/netns/${netns}`, '--', program, ...args];
}

export class TestRegistry {
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly port: number;
  readonly #wish: Wish;

  private constructor(folder: string, child: ChildProcess, port: number, wish: Wish) {
    this.#folder = folder;
    this.#child = child;
    this.port = port;
    this.#wish = wish;
  }

  /** Resolves when it answers. */
  static async start(wish: Wish = {}): Promise<TestRegistry> {
    const { tls = false, login = false } = wish;
    const folder = await mkdtemp(join(tmpdir(), 'covey-registry-'));
    const port = await freePort();
    const lines = ['version: 0.1', 'log: {level: error}', `storage: {filesystem: {rootdirectory: ${folder}/data}}`];
    const pair = tls ? `, tls: {certificate: ${folder}/cert.pem, key: ${folder}/key.pem}` : '';
    lines.push(`http: {addr: 127.0.0.1:${port}${pair}}`);
    if (login) lines.push(`auth: {htpasswd: {realm: test, path: ${folder}/htpasswd}}`);
    await writeFile(join(folder, 'config.yml'), `${lines.join('\n')}\n`);
    await writeFile(join(folder, 'htpasswd'), HTPASSWD);
    if (tls) await makeCertificate(folder);
    const [program, ...args] = inside(wish, 'docker-registry', 'serve', join(folder, 'config.yml'));
    const child = spawn(program, args, { stdio: 'ignore' });
    const registry = new TestRegistry(folder, child, port, wish);
    await until('the registry answers', 20_000, () => registry.#answers());
    return registry;
  }

  /** `HOST:PORT` that needs no TLS, being loopback. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The same registry by an address that no client takes for its own machine. */
  get strangeHost(): string {
    return `${STRANGE_LOOPBACK}:${this.port}`;
  }

  /** Its own CA, PEM. */
  ca(): Promise<string> {
    return readFile(join(this.#folder, 'cert.pem'), 'utf8');
  }

  /** Puts an OCI archive's only image under `NAME:TAG`, by skopeo; gives what skopeo says of it then. */
  async push(archive: Uint8Array, name: string): Promise<{ readonly Digest: string }> {
    const file = join(this.#folder, 'archive.tar');
    await writeFile(file, archive);
    return await this.copyIn(`oci-archive:${file}`, name);
  }

  /** Puts an image, named as skopeo names it, under `NAME:TAG`. */
  async copyIn(source: string, name: string): Promise<{ readonly Digest: string }> {
    const target = `docker://${this.host}/${name}`;
    await this.#skopeo('copy', '--dest-tls-verify=false', ...this.#login('dest-'), source, target);
    return await this.inspect(name);
  }

  /** What skopeo says of `NAME:TAG` there. */
  async inspect(name: string): Promise<{ readonly Digest: string }> {
    const target = `docker://${this.host}/${name}`;
    const stdout = await this.#skopeo('inspect', '--tls-verify=false', ...this.#login(''), target);
    return JSON.parse(stdout) as { Digest: string };
  }

  /** Takes `FROM` out by skopeo, whole, and puts it back under `TO`. */
  async roundTrip(from: string, to: string): Promise<void> {
    const layout = `oci:${this.#folder}/${to.replace(/\W/g, '-')}`;
    const [source, target] = [`docker://${this.host}/${from}`, `docker://${this.host}/${to}`];
    await this.#skopeo('copy', '--preserve-digests', '--src-tls-verify=false', ...this.#login('src-'), source, layout);
    await this.#skopeo(
      'copy',
      '--preserve-digests',
      '--dest-tls-verify=false',
      ...this.#login('dest-'),
      layout,
      target,
    );
  }

  /** Puts a document that names others, such as an index, as it is. */
  async put(repository: string, reference: string, type: string, text: string): Promise<void> {
    const answer = await fetch(`http://${this.host}/v2/${repository}/manifests/${reference}`, {
      method: 'PUT',
      headers: { 'content-type': type },
      body: text,
    });
    expect(answer.status, await answer.text()).toBe(201);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
      await once(this.#child, 'exit');
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #answers(): Promise<boolean> {
    if (this.#child.exitCode !== null) expect.fail(`docker-registry ended with ${this.#child.exitCode}`);
    const scheme = this.#wish.tls ? 'https' : 'http';
    const args = ['-s', '-k', '-o', '/dev/null', '-w', '%{http_code}', `${scheme}://${this.host}/v2/`];
    const stdout = await this.#run('curl', ...args).catch(() => '');
    return stdout === (this.#wish.login ? '401' : '200');
  }

  #login(side: string): readonly string[] {
    return this.#wish.login ? [`--${side}creds=${LOGIN.username}:${LOGIN.password}`] : [];
  }

  async #skopeo(...args: readonly string[]): Promise<string> {
    return await this.#run('skopeo', '--insecure-policy', ...args);
  }

  async #run(...command: readonly [string, ...string[]]): Promise<string> {
    const [program, ...args] = inside(this.#wish, ...command);
    return (await run(program, args)).stdout;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' && address !== null ? address.port : expect.fail('no port');
}

async function makeCertificate(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')];
  const names = ['-subj', '/CN=registry', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:registry.test', '-days', '2'];
  await run('openssl', ['req', '-x509', ...key, ...files, ...names]);
}

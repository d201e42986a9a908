/** Bundles and containers of covey-runtime, called as podman and containerd call it; all of it gone afterwards. */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { native } from '../../native/index.ts';
import { testFile } from './test-file.ts';
import { until } from './until.ts';

const DEADLINE_MS = 20_000;
const COMMANDS = ['sh', 'cat', 'echo', 'ls', 'sleep', 'stty', 'true', 'false', 'touch', 'readlink', 'id', 'env', 'tty'];
const USUAL_MOUNTS = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
  },
] as const;

/** What a test may say of a config; `top` and `linux` are laid over the rest. */
export interface BundleWish {
  readonly top?: object;
  readonly process?: object;
  readonly linux?: object;
  readonly mounts?: readonly object[];
}

/** A call that has ended. The container writes to the same place for as long as it lives. */
export interface Called {
  readonly status: number | null;
  readonly out: () => string;
  readonly err: () => string;
}

export interface State {
  readonly ociVersion: string;
  readonly id: string;
  readonly status: string;
  readonly pid: number;
  readonly bundle: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export class RuntimeWorld {
  readonly folder = mkdtempSync(join(tmpdir(), `covey-test-${process.pid}-`));
  readonly root = join(this.folder, 'root');
  readonly cgroupParent = `/covey-test-${process.pid}-${randomBytes(6).toString('hex')}`;
  #made = 0;

  name(): string {
    this.#made += 1;
    return `r${this.#made}`;
  }

  /** A new bundle whose root file system has a shell; its folder. */
  bundle(args: readonly string[], wish: BundleWish = {}): string {
    const folder = join(this.folder, `bundle-${this.name()}`);
    mkdirSync(join(folder, 'rootfs', 'bin'), { recursive: true });
    for (const each of ['proc', 'dev', 'tmp', 'etc']) mkdirSync(join(folder, 'rootfs', each));
    cpSync('/bin/busybox', join(folder, 'rootfs', 'bin', 'busybox'));
    for (const each of COMMANDS) symlinkSync('busybox', join(folder, 'rootfs', 'bin', each));
    this.writeConfig(folder, args, wish);
    return folder;
  }

  writeConfig(bundle: string, args: readonly string[], wish: BundleWish = {}): void {
    const config = {
      ociVersion: '1.2.0',
      root: { path: 'rootfs' },
      process: { args, cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 }, ...wish.process },
      mounts: [...USUAL_MOUNTS, ...(wish.mounts ?? [])],
      linux: {
        namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
        cgroupsPath: `${this.cgroupParent}/${bundle.slice(bundle.lastIndexOf('-') + 1)}`,
        ...wish.linux,
      },
      ...wish.top,
    };
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  }

  /** Runs `covey-runtime --root … ARGS` and waits for its end; output to files, which a container may hold on to. */
  call(...args: readonly string[]): Called {
    const { files, stdio } = this.#outputs();
    const { status } = spawnSync(testFile('covey-runtime'), ['--root', this.root, ...args], { stdio });
    for (const fd of stdio.slice(1)) closeSync(fd as number);
    return { status, out: () => readFileSync(files.out, 'utf8'), err: () => readFileSync(files.err, 'utf8') };
  }

  /** The same beside others. */
  async calling(...args: readonly string[]): Promise<Called> {
    const { files, stdio } = this.#outputs();
    const child = spawn(testFile('covey-runtime'), ['--root', this.root, ...args], { stdio });
    const [status] = (await once(child, 'exit')) as [number | null];
    for (const fd of stdio.slice(1)) closeSync(fd as number);
    return { status, out: () => readFileSync(files.out, 'utf8'), err: () => readFileSync(files.err, 'utf8') };
  }

  /** A call that must succeed. */
  done(...args: readonly string[]): Called {
    const called = this.call(...args);
    if (called.status !== 0) throw new Error(`covey-runtime ${args.join(' ')}: ${called.err()}`);
    return called;
  }

  created(args: readonly string[], wish: BundleWish = {}): { id: string; bundle: string; called: Called } {
    const bundle = this.bundle(args, wish);
    const id = this.name();
    return { id, bundle, called: this.done('create', '--bundle', bundle, id) };
  }

  started(args: readonly string[], wish: BundleWish = {}): { id: string; bundle: string; called: Called } {
    const made = this.created(args, wish);
    this.done('start', made.id);
    return made;
  }

  /** `run` in the foreground. */
  ran(args: readonly string[], wish: BundleWish = {}): { status: number | null; output: string; error: string } {
    const called = this.call('run', '--bundle', this.bundle(args, wish), this.name());
    return { status: called.status, output: called.out(), error: called.err() };
  }

  /** The folder of a bundle's container in the hierarchy of a controller. */
  cgroupFolder(bundle: string, controller: string): string {
    const folder = native().cgroupFolder(
      controller,
      `${this.cgroupParent}/${bundle.slice(bundle.lastIndexOf('-') + 1)}`,
    );
    if (folder === null) throw new Error(`this host has no ${controller}`);
    return folder;
  }

  state(id: string): State {
    return JSON.parse(this.done('state', id).out()) as State;
  }

  stopped(id: string): Promise<boolean> {
    return until(`container ${id} is stopped`, DEADLINE_MS, () => this.state(id).status === 'stopped');
  }

  async destroy(): Promise<void> {
    for (const id of this.done('list', '--quiet').out().split('\n').filter(Boolean)) this.done('delete', '--force', id);
    const left = readdirSync(this.folder).includes('root') ? readdirSync(this.root) : [];
    await native().cgroupRemove(this.cgroupParent);
    rmSync(this.folder, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`covey-runtime left ${left.join(', ')} in its root`);
  }

  #outputs(): { files: { out: string; err: string }; stdio: ['ignore', number, number] } {
    const base = join(this.folder, `call-${this.name()}`);
    const files = { out: `${base}.out`, err: `${base}.err` };
    return { files, stdio: ['ignore', openSync(files.out, 'w'), openSync(files.err, 'w')] };
  }
}

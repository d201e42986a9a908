/**
 * Containers straight from OCI configs: what the core honours and no service can ask for. Built on a NativeWorld, whose
 * image, cgroup and folder they share.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostFacts } from '../../agent/runtime/host-facts.ts';
import { type OciConfig, type OciMount, ociConfig } from '../../agent/runtime/oci-config.ts';
import type { ContainerCreateOptions, ContainerExecResult, ContainerIdentity } from '../../native/container.ts';
import { native } from '../../native/index.ts';
import { NativeWorld, outputOf, until } from './native-world.ts';
import { testFile } from './test-file.ts';

/** What a test may say of a config; the rest is what every service gets. Values may be what no type of ours allows. */
export interface WantedConfig {
  readonly top?: object;
  readonly process?: object;
  readonly linux?: object;
  /** After the usual ones. */
  readonly mounts?: readonly object[];
  /** Instead of the usual ones. */
  readonly onlyMounts?: readonly object[];
  readonly options?: Partial<ContainerCreateOptions>;
}

export interface OciContainer {
  readonly id: string;
  readonly stateDir: string;
  readonly logPath: string;
  readonly cgroup: string;
  readonly process: object;
  readonly linux: object;
  readonly identity: ContainerIdentity;
}

/** Ids 0 to 65,535 inside, somewhere nobody else is outside. */
export const MAPPED = { containerID: 0, hostID: 1_500_000_000, size: 65_536 } as const;

/** The `linux` part of a container in a user namespace of its own. */
export const IN_USER_NAMESPACE = {
  namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup', 'user'].map((type) => ({ type })),
  uidMappings: [MAPPED],
  gidMappings: [MAPPED],
  sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 65535' },
} as const;

export class OciWorld {
  readonly world = new NativeWorld();
  readonly #made: OciContainer[] = [];
  readonly #shimPath: string;
  #count = 0;

  /** `shimPath`: one of its own, for what may spoil it. One per process. */
  constructor(shimPath = testFile('covey-shim')) {
    this.#shimPath = shimPath;
    mkdirSync(join(this.world.folder, 'oci'));
  }

  async created(args: readonly string[], wanted: WantedConfig = {}): Promise<OciContainer> {
    this.#count += 1;
    const id = `oci${this.#count}`;
    const stateDir = wanted.options?.stateDir ?? join(this.world.folder, 'oci', id);
    const cgroup = `${this.world.cgroupParent}/${id}`;
    const logPath = join(stateDir, 'log');
    mkdirSync(stateDir, { recursive: true });
    await native().cgroupEnsureParent(this.world.cgroupParent);
    const config = this.#config(args, wanted, cgroup);
    const identity = await native().containerCreate(JSON.stringify(config), {
      id,
      stateDir,
      layers: [this.world.layer],
      overlayMode: 'auto',
      volatile: true,
      reaper: false,
      logPath,
      logMaxBytes: 10 << 20,
      logFiles: 5,
      input: false,
      inputOnce: false,
      restart: null,
      logFormat: 'text',
      logBufferBytes: 0,
      shimPath: this.#shimPath,
      ...wanted.options,
    });
    const made = { id, stateDir, logPath, cgroup, process: config.process, linux: config.linux, identity };
    this.#made.push(made);
    return made;
  }

  async started(args: readonly string[], wanted: WantedConfig = {}): Promise<OciContainer> {
    const made = await this.created(args, wanted);
    await native().containerStart(made.stateDir);
    return made;
  }

  /** Starts it, waits for its end. `code` is null when a signal ended it. */
  async ran(args: readonly string[], wanted: WantedConfig = {}): Promise<{ code: number | null; output: string }> {
    const container = await this.started(args, wanted);
    const code = await this.ended(container);
    return { code, output: outputOf(container) };
  }

  async ended(container: OciContainer): Promise<number | null> {
    await native().watchProcess(container.identity.shimPid, container.identity.shimStartTime).ended;
    return (JSON.parse(readFileSync(join(container.stateDir, 'exit.json'), 'utf8')) as { code: number | null }).code;
  }

  async said(container: OciContainer, text: string): Promise<void> {
    await until(() => outputOf(container).includes(text), `container ${container.id} says "${text}"`);
  }

  exec(container: OciContainer, args: readonly string[]): Promise<ContainerExecResult> {
    const { pid, startTime } = container.identity;
    return native().containerExec(
      pid,
      startTime,
      JSON.stringify({ process: { ...container.process, args }, linux: container.linux }),
      {
        cgroup: container.cgroup,
        timeoutMs: 10_000,
        outputMaxBytes: 65_536,
        shimPath: this.#shimPath,
      },
    );
  }

  async destroy(): Promise<void> {
    for (const { identity, cgroup } of this.#made) {
      native().signal(identity.shimPid, identity.shimStartTime, 9);
      await native().cgroupRemove(cgroup);
      await native().watchProcess(identity.shimPid, identity.shimStartTime).ended;
    }
    await this.world.destroy();
  }

  #config(
    args: readonly string[],
    wanted: WantedConfig,
    cgroup: string,
  ): object & Pick<OciContainer, 'process' | 'linux'> {
    const request = this.world.request(args);
    const user = { uid: 0, gid: 0, additionalGids: [], home: '/root' };
    const base: OciConfig = ociConfig({ ...request, user, cgroup, files: [], host: hostFacts() });
    const usual: readonly OciMount[] = base.mounts;
    const config = {
      ...base,
      ...wanted.top,
      process: { ...base.process, ...wanted.process },
      mounts: wanted.onlyMounts ?? [...usual, ...(wanted.mounts ?? [])],
      linux: { ...base.linux, ...wanted.linux },
    };
    return config;
  }
}

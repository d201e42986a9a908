/** Containers without a service on the real core, as an agent has them: an engine with an image of a shell and some files. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ContainerEngine } from '../../agent/engine/engine.ts';
import type { Standalone } from '../../agent/engine/standalone.ts';
import type { NativeRuntime } from '../../agent/runtime/native-runtime.ts';
import { systemClock } from '../../common/clock.ts';
import { toClusterError } from '../../common/errors.ts';
import { noLog } from '../../common/log.ts';
import type { ContainerSpec } from '../../common/model/container.ts';
import type { Digest } from '../../common/model/ids.ts';
import { FakeNetwork } from './fake-network.ts';
import { aTemplate, CONTAINER } from './fixtures.ts';
import { forever, NativeWorld } from './native-world.ts';

const BLOCK = '10.64.0.0/24';

export class EngineWorld {
  readonly world = new NativeWorld();
  /** Ports that services have on this node. */
  readonly held = new Map<string, string>();
  engine: ContainerEngine;
  #made = 0;

  constructor() {
    this.world.addShell();
    const { layer } = this.world;
    mkdirSync(join(layer, 'data', 'deep'), { recursive: true });
    writeFileSync(join(layer, 'data', 'old'), 'from the image');
    mkdirSync(join(layer, 'kept'));
    writeFileSync(join(layer, 'data', 'deep', 'old'), 'from the image too');
    this.engine = this.#engineOf(this.world.runtime);
  }

  /** Before each test. */
  async begin(): Promise<void> {
    this.engine = await this.started(this.world.runtime);
  }

  /** After each test: nothing of it stays. */
  async end(): Promise<void> {
    for (const each of this.engine.all) await each.remove({ force: true });
    for (const { name } of await this.engine.volumes()) {
      await this.engine.removeVolume(name, forever).catch((cause: unknown) => {
        // One that goes with its end may be removing it at this moment.
        if (toClusterError(cause).code !== 'not_found') throw cause;
      });
    }
    this.engine.stop();
  }

  async started(runtime: NativeRuntime): Promise<ContainerEngine> {
    const fresh = this.#engineOf(runtime);
    await fresh.start(forever);
    return fresh;
  }

  newId(): string {
    this.#made += 1;
    return String(this.#made).padStart(64, '0');
  }

  /** A container that runs a shell's script. */
  spec(script: string, change: Partial<ContainerSpec> = {}): ContainerSpec {
    this.#made += 1;
    const imageDigest = `sha256:${'0'.repeat(64)}` as Digest;
    const own = { entrypoint: ['/bin/sh', '-c'], args: [script], stopGraceMs: 50, imageDigest };
    return {
      name: `box${this.#made}`,
      template: aTemplate({ container: { ...CONTAINER, ...own } }),
      ports: [],
      network: 'none',
      mounts: [],
      devices: [],
      autoRemove: false,
      restart: 'no',
      restartMax: 0,
      ...change,
    };
  }

  async run(script: string, change: Partial<ContainerSpec> = {}): Promise<Standalone> {
    const box = await this.engine.create(this.newId(), this.spec(script, change), forever);
    await box.start(forever);
    return box;
  }

  tools() {
    const volumePath = (name: string): string => this.engine.volumePath(name);
    return { images: this.images, runtime: this.world.runtime, volumePath };
  }

  readonly images = {
    ensure: async () => ({
      digest: 'sha256:0' as Digest,
      layers: [this.world.layer],
      config: {
        entrypoint: [],
        cmd: ['/bin/sh'],
        env: [],
        workdir: '',
        user: '',
        stopSignal: '',
        exposedPorts: [],
        labels: {},
        volumes: ['/kept'],
      },
    }),
  };

  #engineOf(runtime: NativeRuntime): ContainerEngine {
    const network = new FakeNetwork();
    const started = network.start({
      host: { address: '10.0.0.1', pool: '10.64.0.0/12', block: BLOCK },
      peers: [],
      ports: [],
      attached: [],
    });
    const filesFor = async () => {
      await started;
      return [{ target: '/etc/hostname', content: 'box\n' }];
    };
    const addresses = { block: () => BLOCK, taken: () => new Set<string>(), portHolders: () => this.held };
    const parts = {
      stateDir: this.world.folder,
      runtime,
      images: this.images,
      network,
      clock: systemClock,
      log: noLog,
    };
    return new ContainerEngine({ ...parts, filesFor, ...addresses });
  }
}

/** Waits for what a container's own life brings about. */
export const eventually = <T>(look: () => T) => expect.poll(look, { timeout: 20_000 });

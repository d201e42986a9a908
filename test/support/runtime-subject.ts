/** The runtimes that the agent meets, made alike for a test of what both must do: the kernel's, and that of unit tests. */
import type { Container, CreateRequest, ExecResult, Runtime } from '../../agent/runtime/runtime.ts';
import { systemClock } from '../../common/clock.ts';
import { FakeRuntime } from './fake-runtime.ts';
import { CONTAINER } from './fixtures.ts';
import { NativeWorld } from './native-world.ts';

/** What a container's command does on SIGTERM. */
export type Behaviour = 'ends' | 'ignores';

export interface RuntimeSubject {
  readonly runtime: Runtime;
  request(id: string, behaviour?: Behaviour): CreateRequest;
  /** Resolves once its command has begun to listen to signals. */
  ready(container: Container): Promise<void>;
  /** A command for `exec`, and what comes of it. */
  readonly probe: { readonly args: readonly string[]; readonly result: ExecResult };
  destroy(): Promise<void>;
}

const RESULT: ExecResult = { exitCode: 3, output: 'said\n', timedOut: false };

export function nativeSubject(): RuntimeSubject {
  const world = new NativeWorld();
  world.addShell();
  return {
    runtime: world.runtime,
    request: (id, behaviour = 'ends') => {
      const request = world.request([behaviour === 'ends' ? 'sleep' : 'stubborn']);
      return { ...request, id, labels: { who: id } };
    },
    ready: (container) => world.said(container, 'ready'),
    probe: { args: ['sh', '-c', 'echo said; exit 3'], result: RESULT },
    destroy: () => world.destroy(),
  };
}

export function fakeSubject(): RuntimeSubject {
  const runtime = new FakeRuntime(systemClock);
  const ignoring = new Set<string>();
  runtime.onSignal((_signal, id) => (ignoring.has(id) ? 'ignore' : { code: 0 }));
  runtime.onExec(() => RESULT);
  const image = { layers: ['/layer'], entrypoint: [], cmd: [], env: [], workdir: '', user: '', stopSignal: '' };
  return {
    runtime,
    request: (id, behaviour = 'ends') => {
      if (behaviour === 'ignores') ignoring.add(id);
      const limits = { nanoCpus: 0, memoryBytes: 0, pids: 0 };
      return { id, image, template: CONTAINER, limits, hostname: 'test', files: [], labels: { who: id } };
    },
    ready: () => Promise.resolve(),
    probe: { args: ['anything'], result: RESULT },
    destroy: () => Promise.resolve(),
  };
}

/** A process of its own that starts one container and then waits to be killed: `tsx native-starter.ts STATE CGROUP LAYER ARGS…`. */
import { NativeRuntime } from '../../agent/runtime/native-runtime.ts';
import { systemClock } from '../../common/clock.ts';
import { native } from '../../native/index.ts';

const [, , stateDir = '', cgroupParent = '', layer = '', ...args] = process.argv;
const forever = new AbortController().signal;
const runtime = new NativeRuntime({ stateDir, cgroupParent, clock: systemClock, addon: native() });
const container = await runtime.create(
  {
    id: 'kept',
    image: { layers: [layer], entrypoint: ['/bin/init'], cmd: [], env: [], workdir: '', user: '', stopSignal: '' },
    template: {
      image: 'test',
      args,
      env: [],
      labels: {},
      readOnly: false,
      stopGraceMs: 1_000,
      health: { kind: 'none' },
      startTimeoutMs: 1_000,
      drainMs: 0,
    },
    limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
    hostname: 'kept',
    files: [],
    labels: { 'covey.task': 'kept' },
  },
  forever,
);
await runtime.start(container.id, forever);
process.stdout.write(`${JSON.stringify(container)}\n`);

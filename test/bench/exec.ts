/** `covey exec` of a command that ends at once: by an open connection to the manager, and as a command of its own. */
import { withResolvers } from '../../common/iterate.ts';
import type { covey } from '../../proto/messages.ts';
import type { BenchCluster } from './bench-cluster.ts';
import type { Figure, Report } from './figure.ts';

const ROUNDS = 30;
const NAME = 'bench-exec';
const CODE = 3;
const COMMAND = ['sh', '-c', `exit ${CODE}`];

export async function benchExec(cluster: BenchCluster, signal: AbortSignal): Promise<Report> {
  await cluster.create(NAME, { replicas: '3' });
  await cluster.untilRunning(NAME, 3);
  const faults: string[] = [];
  const timed = async (ask: (task: string) => Promise<number | undefined>): Promise<readonly number[]> => {
    const samples: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      signal.throwIfAborted();
      const task = `${NAME}.${(round % 3) + 1}`;
      const from = performance.now();
      const code = await ask(task);
      samples.push(performance.now() - from);
      if (code !== CODE) faults.push(`a command in ${task} ended with ${code ?? 'nothing'}, not ${CODE}`);
    }
    return samples;
  };
  const byCall = await timed((task) => called(cluster, task));
  const byCommand = await timed(async (task) => (await cluster.covey('exec', task, ...COMMAND)).code);
  await cluster.remove(NAME);
  const figure = (name: string, samples: readonly number[]): Figure => ({ name, unit: 'ms', samples, faults });
  return {
    figures: [figure('a command, through manager and node', byCall), figure('`covey exec`', byCommand)],
    notes: ['the nodes are asked in turn; the second figure holds a start of Node and a TLS connection'],
  };
}

/** The exit code; undefined when the call ended without one. */
async function called(cluster: BenchCluster, task: string): Promise<number | undefined> {
  const ready = withResolvers<void>();
  const ended = withResolvers<void>();
  try {
    for await (const output of cluster.control.exec(inputs(task, ready.promise, ended.promise), cluster.call())) {
      if (output.ready) ready.resolve();
      if (output.exit) return output.exit.code;
    }
    return undefined;
  } finally {
    ended.resolve();
  }
}

async function* inputs(
  task: string,
  ready: Promise<void>,
  ended: Promise<void>,
): AsyncIterable<covey.v1.ExecInput.$Properties> {
  await ready;
  yield { start: { task, command: COMMAND, env: [] } };
  await ended;
}

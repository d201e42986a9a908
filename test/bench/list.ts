/** `covey service ls` as a command, from its start to its end, beside a Node that does nothing. */
import { say } from '../support/dev-cluster.ts';
import type { BenchCluster } from './bench-cluster.ts';
import { type Figure, median, type Report } from './figure.ts';

const ROUNDS = 15;
const NAME = 'bench-ls';

export async function benchList(cluster: BenchCluster, signal: AbortSignal): Promise<Report> {
  await cluster.create(NAME, { replicas: '3' });
  await cluster.untilRunning(NAME, 3);
  const covey: number[] = [];
  const node: number[] = [];
  const faults: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    signal.throwIfAborted();
    const from = performance.now();
    const said = await cluster.covey('service', 'ls');
    const between = performance.now();
    const bare = await say(process.execPath, ['-e', '0']);
    covey.push(between - from);
    node.push(performance.now() - between);
    if (said.code !== 0 || !/bench-ls +replicated +3\/3/.test(said.out)) {
      faults.push(`ended with ${said.code} and said: ${said.out}${said.err}`);
    }
    if (bare.code !== 0) faults.push(`node -e 0 ended with ${bare.code}`);
  }
  await cluster.remove(NAME);
  const peer = { name: '`node -e 0`', figure: median(node), isMeasured: true };
  const figure: Figure = {
    name: '`covey service ls`',
    unit: 'ms',
    samples: covey,
    aim: { kind: 'at most', value: 200 },
    peers: [peer],
    faults,
  };
  return { figures: [figure], notes: [] };
}

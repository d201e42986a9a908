/** An image built again without any change: what it costs at the node, and with the hashing of its context at the client. */
import { BuildWorld } from '../support/build-world.ts';
import { listedFolder } from '../support/listed-folder.ts';
import type { Report } from './figure.ts';

const ROUNDS = 15;
/** Source: issue 5, "Must show" 4. */
const AIM_MS = 100;
/** Of the context, 20 KiB each. */
const FILES = 1_000;
const CONTEXT = `for i in $(seq 1 10); do mkdir d$i; for j in $(seq 1 ${FILES / 10}); do head -c 20480 /dev/urandom > d$i/f$j; done; done`;
const STEPS = 10;
const DOCKERFILE = `FROM base:1
COPY . /context
${Array.from({ length: STEPS }, (_, n) => `RUN echo ${n} > /made-${n}`).join('\n')}
CMD ["/bin/true"]
`;

export async function benchRebuild(signal: AbortSignal, rounds = ROUNDS): Promise<Report> {
  const world = await BuildWorld.open();
  const alone: number[] = [];
  const whole: number[] = [];
  const faults: string[] = [];
  try {
    await world.addBase('base:1');
    const folder = world.folderOf(CONTEXT);
    const first = await world.buildIn(folder, DOCKERFILE);
    for (let round = 0; round < rounds; round += 1) {
      signal.throwIfAborted();
      const from = performance.now();
      const context = await listedFolder(folder);
      const listed = performance.now();
      const { digest } = await world.buildListed(context, DOCKERFILE, {});
      const to = performance.now();
      if (digest !== first.digest) faults.push(`round ${round} made ${digest} instead of ${first.digest}`);
      alone.push(to - listed);
      whole.push(to - from);
    }
    const aim = { kind: 'at most', value: AIM_MS } as const;
    return {
      figures: [
        { name: 'a build without changes, at the node', unit: 'ms', samples: alone, aim, faults },
        { name: 'with the hashing of its context', unit: 'ms', samples: whole, faults },
      ],
      notes: [`${STEPS} RUNs; ${FILES} files of 20 KiB in the context`],
    };
  } finally {
    await world.destroy();
  }
}

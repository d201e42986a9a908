/** An image built again without any change: what it costs beside the reception of its context and the hashing of its files. */
import type { BuilderEvent } from '../../agent/build/builder.ts';
import { BuildWorld } from '../support/build-world.ts';
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
    const context = await world.keptContext(CONTEXT);
    const first = await world.buildFrom(context(), DOCKERFILE, {});
    for (let round = 0; round < rounds; round += 1) {
      signal.throwIfAborted();
      const times = new Map<string, number>();
      const onEvent = (event: BuilderEvent): void => {
        const what = event.kind === 'begin' || event.kind === 'end' ? `${event.kind} ${event.number}` : event.kind;
        times.set(what, performance.now());
      };
      const from = performance.now();
      const { digest } = await world.buildFrom(context(), DOCKERFILE, { onEvent });
      const to = performance.now();
      if (digest !== first.digest) faults.push(`round ${round} made ${digest} instead of ${first.digest}`);
      // The COPY is the second thing told, after FROM: its time is that of hashing.
      const hashing = (times.get('end 2') ?? 0) - (times.get('begin 2') ?? 0);
      const receiving = (times.get('begin 1') ?? 0) - from;
      alone.push(to - from - receiving - hashing);
      whole.push(to - from);
    }
    const aim = { kind: 'at most', value: AIM_MS } as const;
    return {
      figures: [
        { name: 'a build without changes, but for its context', unit: 'ms', samples: alone, aim, faults },
        { name: 'the whole of it', unit: 'ms', samples: whole, faults },
      ],
      notes: [`${STEPS} RUNs; ${FILES} files of 20 KiB in the context, received, unpacked and hashed each time`],
    };
  } finally {
    await world.destroy();
  }
}

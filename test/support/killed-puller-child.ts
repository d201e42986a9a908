// An agent, as far as images go, that is killed by image-kill-trial.ts: pulls and unpacks its images, removes them, and begins
// again, until then. `tsx killed-puller-child.ts`; what to do comes as one message, `open` is said when it begins.
import type { Digest } from '../../common/model/ids.ts';
import type { KeyedCertificate } from '../../common/tls/certificate.ts';
import { MeshAgent } from './mesh-world.ts';

export interface PullerOrder {
  readonly dir: string;
  readonly ca: KeyedCertificate;
  readonly manager: string;
  readonly images: readonly Digest[];
}

const forever = new AbortController().signal;

async function work({ dir, ca, manager, images }: PullerOrder): Promise<never> {
  const agent = await MeshAgent.open({ dir, id: 'killed', ca, managers: () => [manager] });
  process.send?.('open');
  for (;;) {
    await Promise.all(images.map((digest) => agent.images.ensure('killed:1', digest, forever)));
    for (const digest of images) await agent.images.remove(digest, forever);
    await agent.images.sweep(forever);
  }
}

process.on('disconnect', () => process.exit(0));
process.on('message', (order) => {
  work(order as PullerOrder).catch((cause: unknown) => {
    console.error(cause);
    process.exit(1);
  });
});

/** Has a manager bring the image that a service is about to use, and says so while it lasts. */
import type { ControlClient } from './client.ts';
import { interruptible } from './client.ts';

/** As control.proto's PullPolicy: not over an image that was loaded or built, and the cluster's own when no registry answers. */
const REFRESH = 1;

/**
 * Resolves when the cluster has the image. It speaks on standard error, and only when something has to be brought: standard output is the
 * service's id.
 */
export async function bringImage(
  control: ControlClient,
  reference: string,
  { quiet }: { readonly quiet: boolean },
): Promise<void> {
  const say = (line: string): void => void (quiet || process.stderr.write(`${line}\n`));
  let isTold = false;
  const signal = interruptible();
  for await (const each of control.pullImage({ reference, policy: REFRESH }, { signal })) {
    if (each.warning !== '') process.stderr.write(`warning: ${each.warning}\n`);
    if (each.existed || each.image) continue;
    if (!isTold) say(`pulling image ${reference} from its registry`);
    isTold = true;
    const id = each.blob.replace('sha256:', '').slice(0, 12);
    if (each.received === each.size) say(`${id}: Pull complete`);
  }
}

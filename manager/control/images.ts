/** Control's verbs of images that answer in pieces. */
import { Queue } from '../../common/iterate.ts';
import { toImage } from '../../common/wire/cluster.ts';
import type { covey } from '../../proto/messages.ts';
import type { ManagerImages } from '../images/manager-images.ts';
import type { BlobProgress } from '../images/pull.ts';
import type { ImagePusher, PushedBlob } from '../images/push.ts';

/** More would be of a client that does not read; what is left out, a later message of the blob says better. */
const WAITING_MAX = 1_000;

/** A pull as it goes on; ends with the image. @throws ClusterError as ManagerImages.pull does */
export async function* pullMessages(
  images: Pick<ManagerImages, 'pull'>,
  reference: string,
  signal: AbortSignal,
): AsyncGenerator<covey.v1.PullProgress.$Properties> {
  const waiting = new Queue<BlobProgress>(WAITING_MAX, signal);
  const pulled = images.pull(reference, (progress) => void waiting.push(progress), signal);
  pulled.then(
    () => waiting.end(),
    () => waiting.end(),
  );
  for await (const { digest, received, size, existed } of waiting) yield { blob: digest, received, size, existed };
  const { image, isNew } = await pulled;
  yield { image: toImage(image), isNew };
}

/** A push as it goes on; ends with what the registry has. @throws ClusterError as ImagePusher.push does */
export async function* pushMessages(
  pusher: Pick<ImagePusher, 'push'>,
  reference: string,
  signal: AbortSignal,
): AsyncGenerator<covey.v1.PushProgress.$Properties> {
  const waiting = new Queue<PushedBlob>(WAITING_MAX, signal);
  const pushed = pusher.push(reference, (progress) => void waiting.push(progress), signal);
  pushed.then(
    () => waiting.end(),
    () => waiting.end(),
  );
  for await (const { digest, ...rest } of waiting) yield { blob: digest, ...rest };
  const { image, size } = await pushed;
  yield { digest: image.digest, size };
}

/** Control's verbs of images that answer in pieces. */
import { ClusterError } from '../../common/errors.ts';
import { Queue } from '../../common/iterate.ts';
import type { Image } from '../../common/model/cluster.ts';
import { bareName } from '../../common/oci/reference.ts';
import { toImage } from '../../common/wire/cluster.ts';
import type { covey } from '../../proto/messages.ts';
import type { ManagerImages } from '../images/manager-images.ts';
import type { BlobProgress } from '../images/pull.ts';
import { type PullPolicy, pullAsWished } from '../images/pull-policy.ts';
import type { ImagePusher, PushedBlob } from '../images/push.ts';
import type { Registries } from '../images/registries.ts';
import { type SaveSource, saveArchive } from '../images/save.ts';
import type { Store } from '../store/store.ts';

/** More would be of a client that does not read; what is left out, a later message of the blob says better. */
const WAITING_MAX = 1_000;

const POLICIES: Readonly<Record<covey.v1.PullPolicy, PullPolicy>> = { 0: 'always', 1: 'refresh', 2: 'missing' };

/** A pull as it goes on; ends with the image. @throws ClusterError as pullAsWished does */
export async function* pullMessages(
  { images, store }: { readonly images: Pick<ManagerImages, 'pull'>; readonly store: Store },
  request: { readonly reference: string; readonly policy: covey.v1.PullPolicy },
  signal: AbortSignal,
): AsyncGenerator<covey.v1.PullProgress.$Properties> {
  const waiting = new Queue<BlobProgress>(WAITING_MAX, signal);
  const wish = { reference: request.reference, policy: POLICIES[request.policy] ?? 'always' };
  const parts = { images, view: () => store.view };
  const pulled = pullAsWished(parts, wish, (progress) => void waiting.push(progress), signal);
  pulled.then(
    () => waiting.end(),
    () => waiting.end(),
  );
  for await (const { digest, received, size, existed } of waiting) yield { blob: digest, received, size, existed };
  const { image, isNew, warning } = await pulled;
  yield { image: toImage(image), isNew, warning };
}

/** Every `NAME:TAG` at a name's registry. @throws ClusterError `invalid` for a name with a tag or digest, and those of the registry */
export async function tagsOf(
  { registries }: { readonly registries: Pick<Registries, 'references'> },
  text: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  return await registries.references(bareName(text), signal);
}

/** What saving needs: the images, and blobs of other managers. */
export interface SaveParts {
  readonly images: Pick<ManagerImages, 'blobs' | 'pins' | 'toSave'>;
  readonly fetchBlob: SaveSource['fetch'];
}

/** An archive's pieces. @throws ClusterError `invalid` without a name, and as saveArchive does */
export async function* archiveMessages(
  { images, fetchBlob }: SaveParts,
  refs: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<covey.v1.ArchiveChunk.$Properties> {
  if (refs.length === 0) throw new ClusterError('invalid', 'no image was named', { field: 'refs' });
  const found = new Map(refs.flatMap((ref) => images.toSave(ref)).map((image) => [image.reference, image]));
  const chosen: readonly Image[] = [...found.values()];
  const { pin, release } = images.pins.hand();
  for (const digest of chosen.flatMap(({ blobs }) => blobs)) pin(digest);
  try {
    const source = { blobs: images.blobs, fetch: fetchBlob };
    for await (const chunk of saveArchive(chosen, source, signal)) yield { chunk };
  } finally {
    release();
  }
}

/** An import from its messages. @throws ClusterError `invalid` when the first is no `start`, and as ManagerImages.import does */
export async function importImage(
  images: Pick<ManagerImages, 'import'>,
  requests: AsyncIterable<covey.v1.ImportImageRequest>,
  signal: AbortSignal,
): Promise<Image> {
  const messages = requests[Symbol.asyncIterator]();
  const first = await messages.next();
  const start = first.done === true ? undefined : first.value.start;
  if (!start) throw new ClusterError('invalid', 'an import begins with its name', { field: 'start' });
  const { reference, config, message } = start;
  return await images.import({ reference, config, message }, chunksOf(messages), signal);
}

async function* chunksOf(messages: AsyncIterator<covey.v1.ImportImageRequest>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) return;
    if (next.value.chunk) yield next.value.chunk;
  }
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

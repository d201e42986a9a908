/** `image save` and `image import`: images to and from files, pipes and the web. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { interruptible, withCluster } from '../client.ts';
import { changed } from '../flags/image-changes.ts';
import { collected } from '../flags/values.ts';
import { writeOut, writeWhole } from '../output-file.ts';

const CHUNK_BYTES = 512 * 1024;

/** Declares both. */
export function addImageArchives(image: Command): void {
  image
    .command('save <image...>')
    .description(
      'Write images to an archive that `image load` and `docker load` take; a name without a tag means all its tags',
    )
    .option('-o, --output <file>', 'write to this file instead of standard output')
    .action(saveImages);
  image
    .command('import <file|-|url> [repository[:tag]]')
    .description("Make an image of one layer from a root file system's tar, plain or gzip")
    .option('-c, --change <instruction>', 'a Dockerfile instruction to apply; may be repeated', collected, [])
    .option('-m, --message <text>', 'comment in the image’s history', '')
    .action(importImage);
}

async function saveImages(refs: readonly string[], flags: { output?: string }): Promise<void> {
  const signal = interruptible();
  if (flags.output === undefined && process.stdout.isTTY) {
    throw new ClusterError('invalid', 'an archive is not for a terminal', {
      field: '--output',
      hint: 'give -o FILE, or redirect the output',
    });
  }
  await withCluster(async (control) => {
    const bytes = piecesOf(control.saveImages({ refs: [...refs] }, { signal }));
    if (flags.output === undefined) await writeOut(bytes);
    else await writeWhole(bytes, flags.output);
  });
}

async function* piecesOf(chunks: AsyncIterable<covey.v1.ArchiveChunk>): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of chunks) yield chunk;
}

interface ImportFlags {
  readonly change: readonly string[];
  readonly message: string;
}

async function importImage(source: string, reference: string | undefined, flags: ImportFlags): Promise<void> {
  if (reference === undefined) {
    throw new ClusterError('invalid', 'an image without a name would be removed at once', {
      field: '--tag',
      hint: `covey image import ${source} REPOSITORY[:TAG]`,
    });
  }
  const config = JSON.stringify(changed({}, flags.change));
  const start = { reference, config, message: flags.message === '' ? `Imported from ${source}` : flags.message };
  const signal = interruptible();
  const bytes = await opened(source, signal);
  const { digest } = await withCluster((control) => control.importImage(requests(start, bytes), { signal }));
  process.stdout.write(`${digest}\n`);
}

async function* requests(
  start: covey.v1.ImportStart.$Properties,
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<covey.v1.ImportImageRequest.$Properties> {
  yield { start };
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES) yield { chunk: chunk.subarray(at, at + CHUNK_BYTES) };
  }
}

async function opened(source: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  if (source === '-') {
    if (!process.stdin.isTTY) return process.stdin;
    throw new ClusterError('invalid', 'no tar given', { field: '--file', hint: 'name a file, or pipe the tar in' });
  }
  if (/^https?:\/\//i.test(source)) return await fetched(source, signal);
  const found = await stat(source).catch((cause: unknown) => {
    throw new ClusterError('invalid', `cannot read ${source}: ${messageOf(cause)}`, { field: '--file', cause });
  });
  if (found.isDirectory()) {
    throw new ClusterError('invalid', `${source} is a folder`, {
      field: '--file',
      hint: `tar -C ${source} -c . | covey image import - NAME`,
    });
  }
  return createReadStream(source, { highWaterMark: CHUNK_BYTES });
}

async function fetched(url: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (cause) {
    signal.throwIfAborted();
    const reason = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
    throw new ClusterError('unavailable', `cannot fetch ${url}: ${messageOf(reason)}`, {
      hint: 'is the address right?',
      cause,
    });
  }
  if (response.ok && response.body !== null) return response.body as unknown as AsyncIterable<Uint8Array>;
  throw new ClusterError('not_found', `${url} answered ${response.status} ${response.statusText}`, {
    hint: 'is the address right?',
  });
}

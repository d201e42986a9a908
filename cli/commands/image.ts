/** `covey image …`. */
import { createReadStream, statSync } from 'node:fs';
import type { Command } from 'commander';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { brief, interruptible, withCluster } from '../client.ts';
import type { ImageWords } from '../format/image.ts';
import { type Column, render } from '../format/table.ts';
import { addImageArchives } from './image-archives.ts';
import { addImageList } from './image-list.ts';
import { addImageRegistry } from './image-registry.ts';
import { addImageRemoval } from './image-removal.ts';

const CHUNK_BYTES = 512 * 1024;

const HISTORY_COLUMNS: readonly Column[] = [
  { key: 'ID', title: 'IMAGE' },
  { key: 'CreatedSince', title: 'CREATED' },
  { key: 'CreatedBy', title: 'CREATED BY' },
  { key: 'Size', title: 'SIZE' },
  { key: 'Comment', title: 'COMMENT' },
];

/** Adds `image` and its commands. */
export function addImageCommands(program: Command): void {
  const image = program.command('image').description('Manage images');
  image
    .command('load [file]')
    .description('Load an OCI layout or `docker save` archive (plain or gzip) into the cluster')
    .option('-i, --input <file>', 'the archive; `-` or nothing: standard input')
    .option('-q, --quiet', 'no output')
    .action(loadImage);
  addImageRegistry(image);
  addImageList(image);
  image
    .command('inspect <image...>')
    .description('Show images in full')
    .option('--format <format>', 'json')
    .action(inspectImages);
  image
    .command('history <image>')
    .description('Show the steps an image was built by')
    .option('--format <format>', 'table, json, or a template of {{.Key}}s')
    .option('--no-trunc', 'whole ids and commands')
    .option('-q, --quiet', 'ids only')
    .action(showHistory);
  image.command('tag <source> <target>').description('Give an image one more name').action(tagImage);
  addImageArchives(image);
  addImageRemoval(image);
}

async function loadImage(argument: string | undefined, flags: { input?: string; quiet?: boolean }): Promise<void> {
  const file = argument ?? flags.input ?? '-';
  if (file === '-' && process.stdin.isTTY === true) {
    throw new ClusterError('invalid', 'no archive given', {
      field: '--input',
      hint: 'name a file, or pipe the archive in',
    });
  }
  if (file !== '-') checkFile(file);
  const signal = interruptible();
  const { images } = await withCluster((control) => control.loadImage(chunks(file), { signal }));
  if (flags.quiet !== true) for (const one of images) process.stdout.write(`Loaded image: ${one.reference}\n`);
}

function checkFile(file: string): void {
  try {
    if (!statSync(file).isFile()) throw new Error('it is not a file; pack an OCI layout directory with tar first');
  } catch (cause) {
    throw new ClusterError('invalid', `cannot read ${file}: ${messageOf(cause)}`, { field: '--input', cause });
  }
}

async function* chunks(file: string): AsyncGenerator<covey.v1.LoadImageRequest.$Properties> {
  const stream = file === '-' ? process.stdin : createReadStream(file, { highWaterMark: CHUNK_BYTES });
  for await (const chunk of stream) yield { chunk: chunk as Buffer };
}

async function inspectImages(refs: readonly string[], flags: { format?: string }): Promise<void> {
  const { inspectImage } = await import('../format/image.ts');
  const shown = (await wordsOf(refs)).map(inspectImage);
  if (flags.format === 'json') process.stdout.write(shown.map((one) => `${JSON.stringify(one)}\n`).join(''));
  else process.stdout.write(`${JSON.stringify(shown, undefined, 4)}\n`);
}

async function showHistory(ref: string, flags: { format?: string; quiet?: boolean; trunc: boolean }): Promise<void> {
  const { historyRows } = await import('../format/image.ts');
  const rows = (await wordsOf([ref])).flatMap((words) => historyRows(words, Date.now(), !flags.trunc));
  const ids = rows.map((row) => `${row.ID}\n`).join('');
  process.stdout.write(flags.quiet === true ? ids : render(HISTORY_COLUMNS, rows, flags.format));
}

async function wordsOf(refs: readonly string[]): Promise<readonly ImageWords[]> {
  return await withCluster(async (control) => {
    const found: ImageWords[] = [];
    for (const ref of refs) {
      const { image, ...words } = await control.inspectImage({ ref }, brief());
      const { reference = '', digest = '', indexDigest, size = 0 } = image ?? {};
      found.push({ ...words, reference, digest, size, indexDigest: indexDigest ?? '' });
    }
    return found;
  });
}

async function tagImage(source: string, target: string): Promise<void> {
  await withCluster((control) => control.tagImage({ source, target }, brief()));
}

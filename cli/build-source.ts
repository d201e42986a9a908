/** What is to be built: a Dockerfile and its context, from a folder, a URL or standard input. */
import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ClusterError, messageOf } from '../common/errors.ts';
import type { covey } from '../proto/messages.ts';
import { listContext, originOf, readIgnore } from './build-context.ts';

const DOCKERFILE = 'Dockerfile';
const URL_SHAPE = /^https?:\/\//i;

/** What may be copied. */
type Context =
  | { readonly kind: 'none' }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'tar'; readonly chunks: AsyncIterable<Uint8Array> }
  | {
      readonly kind: 'folder';
      readonly folder: string;
      readonly origin: string;
      readonly entries: readonly covey.v1.ContextEntry.$Properties[];
    };

export interface BuildSource {
  /** The Dockerfile's name; its path in the context when there is no text. */
  readonly name: string;
  readonly text?: string;
  readonly context: Context;
}

/** @throws ClusterError `invalid` for a context or Dockerfile that cannot be read */
export async function sourceOf(context: string, file: string | undefined, signal: AbortSignal): Promise<BuildSource> {
  if (URL_SHAPE.test(context)) return { name: file ?? DOCKERFILE, context: { kind: 'url', url: context } };
  if (context === '-') return await sourceOfInput(file);
  if (!existsSync(context) || !statSync(context).isDirectory()) {
    throw new ClusterError('invalid', `the context "${context}" is no folder`, {
      field: '--context',
      hint: 'give a folder, the URL of a tar, or -',
    });
  }
  const path = file ?? join(context, DOCKERFILE);
  const text = path === '-' ? await textOf(process.stdin) : await readText(path);
  const ignore = await readIgnore(context, path === '-' ? undefined : path);
  const entries = await listContext(context, ignore, signal);
  return {
    name: path === '-' ? DOCKERFILE : basename(path),
    text,
    context: { kind: 'folder', folder: context, origin: originOf(context, path), entries },
  };
}

/** A tar, or a Dockerfile without a context. Source: docker build, "Text files" and "Tarball contexts". */
async function sourceOfInput(file: string | undefined): Promise<BuildSource> {
  const chunks = process.stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let head = Buffer.alloc(0);
  while (head.length < TAR_MAGIC_END) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    if (head.length > 0) yield head;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  }
  if (isTar(head)) return { name: file ?? DOCKERFILE, context: { kind: 'tar', chunks: whole() } };
  const pieces: Uint8Array[] = [];
  for await (const piece of whole()) pieces.push(piece);
  return { name: DOCKERFILE, text: Buffer.concat(pieces).toString('utf8'), context: { kind: 'none' } };
}

const TAR_MAGIC_END = 262;
const PACKED: readonly (readonly number[])[] = [
  [0x1f, 0x8b],
  [0x42, 0x5a, 0x68],
  [0xfd, 0x37, 0x7a, 0x58, 0x5a],
  [0x28, 0xb5, 0x2f, 0xfd],
];

function isTar(head: Buffer): boolean {
  const isPacked = PACKED.some((magic) => magic.every((byte, at) => head[at] === byte));
  return isPacked || head.subarray(257, TAR_MAGIC_END).toString('latin1') === 'ustar';
}

async function textOf(input: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of input) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ClusterError('invalid', `the Dockerfile cannot be read: ${messageOf(cause)}`, {
      field: '--file',
      hint: 'name it with -f',
      cause,
    });
  }
}

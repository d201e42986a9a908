/**
 * Unpacking by one of Debian's programs: it runs beside us, on another core, with the memory that it is allowed (ADR 0021). Comes in:
 * packed bytes. Goes out: plain ones. Nobody else starts a program in this room.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { Readable, type Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ClusterError, messageOf } from '../errors.ts';

export interface Unpacker {
  readonly program: string;
  readonly args: readonly string[];
  /** What it unpacks, in messages. */
  readonly packing: string;
  /** Debian's, that it is in. */
  readonly package: string;
  /** What the program's last words mean; undefined: that the bytes are broken. */
  readonly judge: (words: string, name: string) => ClusterError | undefined;
}

const FEED_BYTES = 256 * 1024;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Whether the program can be run. */
export function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * @param name  what errors call it
 * @throws ClusterError `invalid` for what is broken or cut off and as `judge` says, `unavailable` when the program is not installed or
 *   was killed; what `source` throws
 */
export async function* unpackedBy(
  unpacker: Unpacker,
  source: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  const { program, args } = unpacker;
  const child = spawn(program, args, { stdio: 'pipe', env: { PATH: process.env.PATH, LC_ALL: 'C' } });
  const ended = once(child, 'close');
  const said = text(child.stderr);
  // Looked at below, where everything that went wrong is weighed.
  for (const each of [ended, said]) each.catch(() => undefined);
  const feed = feeding(source, child);
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    if (feed.failure !== undefined) throw feed.failure.cause;
    const failure = await verdict(unpacker, ended, said, name);
    if (failure !== undefined) throw failure;
  } finally {
    feed.input.destroy();
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
  }
}

interface Feed {
  readonly input: Readable;
  /** What the source threw. */
  failure?: { readonly cause: unknown };
}

function feeding(source: AsyncIterable<Uint8Array>, child: Child): Feed {
  const input = Readable.from(source, { objectMode: false, highWaterMark: FEED_BYTES });
  const feed: Feed = { input };
  input.once('error', (cause) => {
    feed.failure = { cause };
    child.kill('SIGKILL');
  });
  // A program that has given up reads no more; its exit says why.
  child.stdin.on('error', () => input.destroy());
  input.pipe(child.stdin);
  return feed;
}

async function verdict(
  { packing, judge, package: source }: Unpacker,
  ended: Promise<unknown[]>,
  said: Promise<string>,
  name: string,
): Promise<ClusterError | undefined> {
  let exit: unknown[];
  try {
    exit = await ended;
  } catch (cause) {
    return new ClusterError(
      'unavailable',
      `${name} is packed with ${packing}, which cannot be run: ${messageOf(cause)}`,
      { hint: `install the package ${source} on this host`, cause },
    );
  }
  const [code, killer] = exit;
  if (code === 0) return undefined;
  if (code === null) return new ClusterError('unavailable', `unpacking of ${name} was ended by ${String(killer)}`);
  const words = await said.catch(() => '');
  const judged = judge(words, name);
  if (judged !== undefined) return judged;
  const why =
    words
      .trim()
      .split('\n', 1)[0]
      ?.replace(/^.*(?:stdin\*\\\s*: *|\(null\) )/, '') ?? '';
  return new ClusterError('invalid', `${name} is a broken ${packing}: ${why.slice(0, 200)}`, {
    hint: 'export or copy the image again',
  });
}

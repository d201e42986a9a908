/** `cp`, `diff` and `export`: files of containers without a service. */
import { lstat, realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ClusterError, messageOf } from '../../common/errors.ts';
import { tarOf } from '../../common/oci/tar-writer.ts';
import { formatBytes } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import { brief, type EngineClient, interruptible, withCluster } from '../client.ts';
import { type CopyDestination, type CopySource, containerPath, copyPlan, lastPart } from '../copy-rules.ts';
import { addSwitch } from '../flags/switch.ts';
import { localEntries, unpackHere } from '../local-files.ts';
import { writeOut, writeWhole } from '../output-file.ts';

interface CopyFlags {
  readonly archive?: boolean;
  readonly followLink?: boolean;
  readonly quiet?: boolean;
}

interface There {
  readonly container: string;
  readonly path: string;
}

/** Declares them. */
export function addContainerFiles(program: Command): void {
  const cp = program
    .command('cp <source> <destination>')
    .description('Copy files to a container or from it: CONTAINER:PATH, a path of ours, or - for a tar');
  addSwitch(cp, '-a, --archive', 'keep owners');
  addSwitch(cp, '-L, --follow-link', 'copy what a link leads to');
  addSwitch(cp, '-q, --quiet', 'say nothing');
  cp.action(copy);
  program
    .command('diff <container>')
    .description('Show what a container has changed of its image: A added, C changed, D deleted')
    .action(async (container: string) => {
      const { changes } = await withCluster((_control, engine) =>
        engine.containerChanges({ container }, { signal: interruptible() }),
      );
      process.stdout.write(changes.map(({ kind, path }) => `${kind} ${path}\n`).join(''));
    });
  program
    .command('export <container>')
    .description("Write a container's root file system as a tar")
    .option('-o, --output <file>', 'to this file instead of standard output')
    .action(exportContainer);
}

async function exportContainer(container: string, { output }: { output?: string }): Promise<void> {
  if (output === undefined && process.stdout.isTTY) {
    throw new ClusterError('invalid', 'a tar is not for a terminal', {
      field: '--output',
      hint: 'give -o FILE, or redirect the output',
    });
  }
  await withCluster(async (_control, engine) => {
    const bytes = piecesOf(engine.exportContainer({ container }, { signal: interruptible() }));
    if (output === undefined) await writeOut(bytes);
    else await writeWhole(bytes, output);
  });
}

async function copy(from: string, to: string, flags: CopyFlags): Promise<void> {
  const [source, destination] = [containerPath(from), containerPath(to)];
  if (source !== undefined && destination !== undefined) {
    throw new ClusterError('invalid', 'copying between containers is not supported', {
      hint: 'copy to here, then there',
    });
  }
  if (source === undefined && destination === undefined) {
    throw new ClusterError('invalid', 'must specify at least one container source', { hint: 'write CONTAINER:PATH' });
  }
  await withCluster(async (_control, engine) => {
    const bytes =
      source === undefined
        ? await copyIn(engine, from, destination as There, flags)
        : await copyOut(engine, source, to, flags);
    if (flags.quiet !== true && bytes !== undefined) {
      process.stderr.write(`Successfully copied ${formatBytes(bytes)} to ${to === '-' ? 'standard output' : to}\n`);
    }
  });
}

async function copyIn(engine: EngineClient, from: string, to: There, flags: CopyFlags): Promise<number | undefined> {
  const destination = await thereKind(engine, to);
  const keepOwner = flags.archive ?? false;
  if (from === '-') {
    if (destination.kind !== 'folder')
      throw new ClusterError('invalid', `destination "${to.container}:${to.path}" must be a directory`);
    await engine.writePath(requests({ ...to, path: destination.path, keepOwner }, process.stdin), {
      signal: interruptible(),
    });
    return undefined;
  }
  const found = await (flags.followLink === true ? stat(from) : lstat(from)).catch((cause: unknown) => {
    throw new ClusterError('invalid', `cannot read ${from}: ${messageOf(cause)}`, { cause });
  });
  const source: CopySource = {
    path: /(?:^|\/)\.\.?$/.test(from) ? `${resolve(from)}/.` : from,
    isFolder: found.isDirectory(),
  };
  const { folder, top } = copyPlan(source, destination, to.path);
  const archive = counted(tarOf(localEntries(resolve(from), top, flags.followLink ?? false)));
  await engine.writePath(requests({ container: to.container, path: folder, keepOwner }, archive.bytes), {
    signal: interruptible(),
  });
  return archive.count();
}

async function copyOut(engine: EngineClient, from: There, to: string, flags: CopyFlags): Promise<number | undefined> {
  const follow = flags.followLink ?? false;
  const found = await engine.statPath({ ...from, follow }, brief());
  if (!found.exists) {
    throw new ClusterError('not_found', `Could not find the file ${from.path} in container ${from.container}`);
  }
  const archive = counted(piecesOf(engine.readPath({ ...from, follow }, { signal: interruptible() })));
  if (to === '-') {
    if (process.stdout.isTTY)
      throw new ClusterError('invalid', 'a tar is not for a terminal', { hint: 'redirect the output' });
    await writeOut(archive.bytes);
    return undefined;
  }
  const { folder, top } = copyPlan({ path: from.path, isFolder: found.kind === 'directory' }, await hereKind(to), to);
  const base = lastPart(from.path) || lastPart(found.path);
  await unpackHere(archive.bytes, { folder, base, top, keepsOwner: flags.archive ?? false });
  return archive.count();
}

async function thereKind(engine: EngineClient, { container, path }: There): Promise<CopyDestination> {
  const found = await engine.statPath({ container, path, follow: true }, brief());
  if (found.exists) return { path: found.path, kind: found.kind === 'directory' ? 'folder' : 'file' };
  return { path, kind: 'none' };
}

async function hereKind(path: string): Promise<CopyDestination> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return { path: resolve(path), kind: 'none' };
  return { path: await realpath(path), kind: found.isDirectory() ? 'folder' : 'file' };
}

function counted(source: AsyncIterable<Uint8Array>): { bytes: AsyncIterable<Uint8Array>; count: () => number } {
  let total = 0;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for await (const piece of source) {
      total += piece.length;
      yield piece;
    }
  }
  return { bytes: bytes(), count: () => total };
}

const CHUNK_BYTES = 512 * 1024;

async function* requests(
  place: covey.v1.WritePathRequest.$Properties,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<covey.v1.WritePathRequest.$Properties> {
  yield place;
  for await (const piece of source) {
    for (let at = 0; at < piece.length; at += CHUNK_BYTES) yield { chunk: piece.subarray(at, at + CHUNK_BYTES) };
  }
}

async function* piecesOf(chunks: AsyncIterable<covey.v1.FileChunk>): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of chunks) yield chunk;
}

/** A context that came as a tar: the Dockerfile in it, and what its ignore file leaves out. */
import { join } from 'node:path';
import { type Ignore, ignoreFileNames, ignoreOf } from '../../common/context/ignore.ts';
import { ClusterError } from '../../common/errors.ts';
import { native } from '../../native/index.ts';
import { bytesOf } from './byte-paths.ts';
import { LayersTree, type SourceTree } from './source-tree.ts';

const TEXT_BYTES_MAX = 1024 * 1024;

/** @throws ClusterError `invalid` */
export async function dockerfileIn(
  context: SourceTree | undefined,
  name: string,
  signal: AbortSignal,
): Promise<string> {
  if (context === undefined) throw new ClusterError('invalid', `there is no context to read ${name} from`);
  const text = await textIn(context, name, signal);
  if (text !== undefined) return text;
  throw new ClusterError('invalid', `${name} is not in the build context`, { hint: 'name it with -f' });
}

/** Removes what the ignore file of the Dockerfile, else the context's own, names. @throws ClusterError `invalid` naming its line */
export async function leaveOut(context: string, dockerfile: string, signal: AbortSignal): Promise<void> {
  for (const name of ignoreFileNames(dockerfile)) {
    const text = await textIn(new LayersTree([{ path: context, idBase: 0 }]), name, signal);
    if (text !== undefined) return await removeIgnored(context, ignoreOf(text, name), signal);
  }
}

async function removeIgnored(context: string, ignore: Ignore, signal: AbortSignal): Promise<void> {
  const ignored: string[] = [];
  for await (const { kind, path } of new LayersTree([{ path: context, idBase: 0 }]).entries('', signal)) {
    if (kind === 'append' || path === '' || ignored.some((folder) => path.startsWith(`${folder}/`))) continue;
    const text = Buffer.from(path, 'latin1').toString('utf8');
    if (kind === 'directory' ? ignore.isWhole(text) : ignore.ignores(text)) ignored.push(path);
  }
  // A name that is no text cannot be told to Node; patterns are texts, so it is hardly meant.
  for (const path of ignored) await native().removeTree(join(context, Buffer.from(path, 'latin1').toString('utf8')));
}

/** Undefined when it is no file there. */
async function textIn(context: SourceTree, name: string, signal: AbortSignal): Promise<string | undefined> {
  const { entry, path } = await context.lookUp(bytesOf(name), { follow: true });
  if (entry?.kind !== 'file') return undefined;
  if (entry.size > TEXT_BYTES_MAX) throw new ClusterError('invalid', `${name} has more than ${TEXT_BYTES_MAX} bytes`);
  const pieces: Uint8Array[] = [];
  for await (const { body } of context.entries(path, signal)) if (body !== null) pieces.push(body);
  return Buffer.concat(pieces).toString('utf8');
}

/** Brings what ADD and a build's context name by URL. Bounded in bytes and redirects; what broke off is not gone on with. */
import { createHash } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { baseName } from '../../common/context/paths.ts';
import { ClusterError, messageOf } from '../../common/errors.ts';
import { diskError } from '../../common/oci/disk.ts';
import { LAYER_LIMITS } from '../../common/oci/layer.ts';
import type { Fetch, Fetched } from './transfer-sources.ts';

/** @param dir  where the files lie until they are removed */
export function fetcher(dir: string): Fetch {
  return async (url, signal) => {
    const folder = await mkdtemp(join(dir, 'fetch-'));
    const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
    try {
      return { ...(await download(url, join(folder, 'file'), signal)), remove };
    } catch (cause) {
      await remove();
      signal.throwIfAborted();
      throw cause;
    }
  };
}

async function download(url: string, path: string, signal: AbortSignal): Promise<Omit<Fetched, 'remove'>> {
  const response = await ask(url, signal);
  const hash = createHash('sha256');
  const file = await open(path, 'wx', 0o600);
  let size = 0;
  try {
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      if (size > LAYER_LIMITS.bytes)
        throw new ClusterError('invalid', `${url} has more than ${LAYER_LIMITS.bytes} bytes`);
      hash.update(chunk);
      await file.appendFile(chunk);
    }
  } catch (cause) {
    const error = diskError(url, cause);
    throw error instanceof ClusterError ? error : unreachable(url, cause);
  } finally {
    await file.close();
  }
  const at = Date.parse(response.headers.get('last-modified') ?? '');
  return { path, digest: `sha256:${hash.digest('hex')}`, name: nameOf(url, response), at: Number.isNaN(at) ? 0 : at };
}

async function ask(url: string, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (cause) {
    throw unreachable(url, cause);
  }
  if (response.ok) return response;
  await response.body?.cancel();
  throw new ClusterError('invalid', `${url} cannot be fetched: the server answers ${response.status}`);
}

function nameOf(url: string, response: Response): string {
  const said = /filename="?([^";/]+)"?/.exec(response.headers.get('content-disposition') ?? '')?.[1];
  const name = said ?? baseName(new URL(url).pathname);
  return name === '' ? 'download' : name;
}

function unreachable(url: string, cause: unknown): ClusterError {
  const { cause: why } = cause as { readonly cause?: unknown };
  return new ClusterError('unavailable', `${url} cannot be fetched: ${messageOf(why ?? cause)}`, { cause });
}

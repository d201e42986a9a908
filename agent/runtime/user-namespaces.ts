/** Whether this host can give containers user namespaces, and which ids it has for them. Asked once, when the agent starts. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { type IdPool, idPool } from './id-ranges.ts';

const execute = promisify(execFile);
/** A probe is a few system calls. */
const PROBE_TIMEOUT_MS = 10_000;

export interface UserNamespaces {
  readonly pool: IdPool;
  /** Why containers cannot have one here; absent: they can. */
  readonly unfit?: string;
}

export interface UserNamespaceQuestion {
  /** `BASE:COUNT`; empty: as /etc/subuid says, or the default. */
  readonly setting: string;
  /** On the file system that holds the images' layers. */
  readonly folder: string;
  readonly shimPath: string;
}

/** @throws ClusterError `invalid` when the ids that are set aside make no pool */
export async function userNamespaces(question: UserNamespaceQuestion, signal: AbortSignal): Promise<UserNamespaces> {
  const [subuid, subgid] = await Promise.all(['/etc/subuid', '/etc/subgid'].map(readIfThere));
  const pool = idPool({ setting: question.setting, subuid: subuid ?? '', subgid: subgid ?? '' });
  const unfit = await probe(question, signal);
  return unfit === undefined ? { pool } : { pool, unfit };
}

/** Makes a user namespace and shows a folder through it, as a container's layers are. The reason it cannot, or nothing. */
async function probe(question: UserNamespaceQuestion, signal: AbortSignal): Promise<string | undefined> {
  try {
    await execute(question.shimPath, ['--probe-ids', question.folder], { signal, timeout: PROBE_TIMEOUT_MS });
    return undefined;
  } catch (cause) {
    signal.throwIfAborted();
    return reasonOf(String((cause as { readonly stdout?: unknown }).stdout ?? ''), question.folder);
  }
}

/** What the shim's answer means: `error`, errno, step, system call and path on a line each. */
export function reasonOf(answer: string, folder: string): string {
  const [word, , step = '', syscall = '', path = ''] = answer.split('\n');
  if (word !== 'error') return 'the probe of covey-shim gave no answer';
  if (syscall === 'clone3') return 'this kernel makes no user namespaces, or user.max_user_namespaces is 0';
  if (syscall === 'mount_setattr') return `the file system of ${folder} cannot show files under other ids`;
  if (syscall === 'open_tree') return `this kernel cannot map the ids of mounts (it needs Linux 5.12)`;
  return `${step} failed at ${syscall} ${path}`.trim();
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw cause;
  }
}

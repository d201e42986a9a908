/** The socket between the verbs and the daemon, and the file that both go by. */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { Layout } from './layout.ts';
import type { Status } from './status.ts';
import type { Fault } from './supervisor.ts';

export type Ask =
  | { readonly verb: 'status' }
  | { readonly verb: 'fail'; readonly host: string; readonly fault: Fault }
  | { readonly verb: 'heal'; readonly host: string }
  | { readonly verb: 'down' };

export interface Answer {
  readonly ok: boolean;
  readonly error?: string;
  /** Of `status`. */
  readonly stage?: string;
  readonly ready?: boolean;
  readonly failure?: string;
  readonly status?: Status;
}

/** The daemon's socket; short, whatever the directory is called. */
export function socketOf(layout: Layout): string {
  return join(layout.runDir, 'supervisor.sock');
}

/** The layout in a cluster's directory. @throws ClusterError `not_found` when there is none */
export function readLayout(dir: string): Layout {
  const file = join(dir, 'cluster.json');
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Layout;
  } catch (cause) {
    throw new ClusterError('not_found', `no cluster in ${dir}: ${messageOf(cause)}`, {
      hint: 'make one with `cluster up`',
      cause,
    });
  }
}

/** Asks the daemon. @throws ClusterError `unavailable` when none runs */
export async function ask(layout: Layout, question: Ask): Promise<Answer> {
  const socket = connect(socketOf(layout));
  let text = '';
  try {
    socket.setEncoding('utf8');
    socket.once('connect', () => socket.write(`${JSON.stringify(question)}\n`));
    for await (const chunk of socket) text += chunk;
  } catch (cause) {
    throw new ClusterError('unavailable', `the cluster in ${layout.dir} is not running`, {
      hint: 'start it with `cluster up`',
      cause,
    });
  }
  if (text === '') throw new ClusterError('unavailable', `the cluster in ${layout.dir} is not running`);
  const answer = JSON.parse(text) as Answer;
  if (answer.ok) return answer;
  throw new ClusterError('invalid', answer.error ?? 'refused');
}

/** Questions to nodes' disks: to one, or to all at once. */
import { type ClusterError, explain, toClusterError } from '../common/errors.ts';
import type { covey } from '../proto/messages.ts';
import { brief, type ControlClient, type EngineClient } from './client.ts';
import { EXIT } from './exit.ts';

export interface NodeUse {
  readonly name: string;
  readonly report: covey.v1.DiskUseReport;
}

/** What takes room, by node. */
export async function usesOf(
  control: ControlClient,
  engine: EngineClient,
  ref: string | undefined,
): Promise<readonly NodeUse[]> {
  return await fromEach(await nodesOf(control, ref), async (name) => {
    return { name, report: await engine.diskUse({ node: name }, brief()) };
  });
}

/** The named node, or every one that is not lost, by name; two of one name by id. */
export async function nodesOf(control: ControlClient, ref: string | undefined): Promise<readonly string[]> {
  if (ref !== undefined) return [ref];
  const { nodes } = await control.listNodes({}, brief());
  const names = nodes.map(({ status }) => status?.description?.hostname ?? '');
  return nodes.map(({ node }, index) => {
    const name = names[index] ?? '';
    return name !== '' && names.indexOf(name) === names.lastIndexOf(name) ? name : (node?.id ?? '');
  });
}

/** All at once. A node that fails is told and makes the exit code 1; the others' answers count. */
export async function fromEach<T>(names: readonly string[], ask: (name: string) => Promise<T>): Promise<readonly T[]> {
  const answers = await Promise.allSettled(names.map(ask));
  const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [toClusterError(answer.reason)] : []));
  if (failures.length === names.length && failures.length > 0) throw failures[0] as ClusterError;
  for (const failure of failures) process.stderr.write(`covey: ${explain(failure)}\n`);
  if (failures.length > 0) process.exitCode = EXIT.error;
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
}

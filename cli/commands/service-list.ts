/** ls, ps, inspect. */

import { formatAge } from '../../common/units.ts';
import { fromRollout, fromService } from '../../common/wire/service.ts';
import type { covey } from '../../proto/messages.ts';
import { brief, withCluster } from '../client.ts';
import { inspectService } from '../format/inspect.ts';
import { type Column, type Row, render } from '../format/table.ts';

export interface ListFlags {
  readonly format?: string;
  readonly quiet?: boolean;
}

/** Ids are shown so long. */
export const SHORT_ID = 12;

const SERVICE_COLUMNS: readonly Column[] = [
  { key: 'ID', title: 'ID' },
  { key: 'Name', title: 'NAME' },
  { key: 'Mode', title: 'MODE' },
  { key: 'Replicas', title: 'REPLICAS' },
  { key: 'Image', title: 'IMAGE' },
  { key: 'Ports', title: 'PORTS' },
];

const TASK_COLUMNS: readonly Column[] = [
  { key: 'ID', title: 'ID' },
  { key: 'Name', title: 'NAME' },
  { key: 'Image', title: 'IMAGE' },
  { key: 'Node', title: 'NODE' },
  { key: 'DesiredState', title: 'DESIRED STATE' },
  { key: 'CurrentState', title: 'CURRENT STATE' },
  { key: 'Error', title: 'ERROR' },
  { key: 'Ports', title: 'PORTS' },
];

/** `service ls`. */
export async function listServices(flags: ListFlags): Promise<void> {
  const { services } = await withCluster((control) => control.listServices({}, brief()));
  const rows = services.map(serviceRow).sort((a, b) => (a.Name ?? '').localeCompare(b.Name ?? ''));
  print(SERVICE_COLUMNS, rows, flags);
}

/** Prints ids, or rows in the format asked for. */
export function print(columns: readonly Column[], rows: readonly Row[], flags: ListFlags): void {
  process.stdout.write(
    flags.quiet === true ? rows.map((row) => `${row.ID}\n`).join('') : render(columns, rows, flags.format),
  );
}

function serviceRow(view: covey.v1.ServiceView): Row {
  const spec = view.service?.spec;
  const max = spec?.template?.maxReplicasPerNode ?? 0;
  return {
    ID: (view.service?.id ?? '').slice(0, SHORT_ID),
    Name: spec?.name ?? '',
    Mode: 'replicated',
    Replicas: `${view.running}/${view.desired}${max > 0 ? ` (max ${max} per node)` : ''}`,
    Image: shortImage(spec?.template?.container?.image ?? ''),
    Ports: (spec?.ports ?? [])
      .filter((port) => port.mode === 'ingress')
      .map((port) => `*:${port.published}->${port.target}/${port.protocol}`)
      .join(', '),
  };
}

function shortImage(image: string): string {
  return image.split('@')[0] ?? image;
}

/** `service ps`. */
export async function listTasks(refs: readonly string[], flags: ListFlags): Promise<void> {
  const { tasks } = await withCluster((control) => control.listTasks({ services: [...refs] }, brief()));
  const ordered = tasks.toSorted(
    (a, b) =>
      (a.serviceName ?? '').localeCompare(b.serviceName ?? '') ||
      (a.task?.slot ?? 0) - (b.task?.slot ?? 0) ||
      (b.task?.createdAt ?? 0) - (a.task?.createdAt ?? 0),
  );
  const now = Date.now();
  const rows = ordered.map((task, i) => taskRow(task, ordered[i - 1]?.name === task.name, now));
  print(TASK_COLUMNS, rows, flags);
}

function taskRow(view: covey.v1.TaskView, isHistory: boolean, now: number): Row {
  const ports = (view.ports ?? []).map((port) => `*:${port.published}->${port.target}/${port.protocol}`).join(',');
  return {
    ID: (view.task?.id ?? '').slice(0, SHORT_ID),
    Name: isHistory ? ` \\_ ${view.name}` : (view.name ?? ''),
    Image: shortImage(view.image ?? ''),
    Node: view.nodeName ?? '',
    DesiredState: capital(view.task?.desired ?? ''),
    CurrentState: `${capital(view.state ?? '')} ${formatAge(now - (view.stateSince ?? now)).toLowerCase()} ago`,
    Error: quoted(view),
    Ports: ports,
    // Not Docker's, and in no table: for scripts that look at the container's process on its node.
    Pid: String(view.status?.pid ?? ''),
    ExitCode: String(view.status?.exitCode ?? ''),
  };
}

function quoted(view: covey.v1.TaskView): string {
  const why = view.status?.error ?? (view.task?.nodeId ? undefined : view.task?.pending);
  if (why === undefined || why === null || why === '') return '';
  const perNode = (view.refusals ?? []).map((one) => `${one.hostname || one.nodeId}: ${one.reason}`).join('; ');
  return `"${perNode === '' ? why : `${why} [${perNode}]`}"`;
}

function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

/** `service inspect`. */
export async function inspectServices(refs: readonly string[], flags: ListFlags): Promise<void> {
  const found = await withCluster(async (control) => {
    const views = [];
    for (const ref of refs) views.push(await control.getService({ ref }, brief()));
    return views;
  });
  const shown = found.map((view) =>
    inspectService(fromService(view.service ?? {}), view.version, view.rollout ? fromRollout(view.rollout) : undefined),
  );
  if (flags.format === 'json') process.stdout.write(shown.map((one) => `${JSON.stringify(one)}\n`).join(''));
  else process.stdout.write(`${JSON.stringify(shown, undefined, 4)}\n`);
}

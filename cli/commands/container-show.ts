/** `ps inspect logs top stats port`: what containers without a service are and do. */
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import { formatBinary, formatBytes, parseDuration } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import { brief, type EngineClient, interruptible, withCluster } from '../client.ts';
import { addSwitch } from '../flags/switch.ts';
import { collected, wholeNumber } from '../flags/values.ts';
import { containerRow, cpuPercent, inspectContainer } from '../format/container.ts';
import { containerFilters, passesContainer } from '../format/container-filter.ts';
import { filled } from '../format/object-template.ts';
import { type Column, type Row, render } from '../format/table.ts';

const COLUMNS: readonly Column[] = [
  { key: 'ID', title: 'CONTAINER ID' },
  { key: 'Image', title: 'IMAGE' },
  { key: 'Command', title: 'COMMAND' },
  { key: 'RunningFor', title: 'CREATED' },
  { key: 'Status', title: 'STATUS' },
  { key: 'Ports', title: 'PORTS' },
  { key: 'Names', title: 'NAMES' },
  { key: 'Node', title: 'NODE' },
];

const STATS: readonly Column[] = [
  { key: 'Container', title: 'CONTAINER ID' },
  { key: 'Name', title: 'NAME' },
  { key: 'CPUPerc', title: 'CPU %' },
  { key: 'MemUsage', title: 'MEM USAGE / LIMIT' },
  { key: 'MemPerc', title: 'MEM %' },
  { key: 'NetIO', title: 'NET I/O' },
  { key: 'BlockIO', title: 'BLOCK I/O' },
  { key: 'PIDs', title: 'PIDS' },
];

interface PsFlags {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly filter: readonly string[];
  readonly format?: string;
  readonly trunc: boolean;
  readonly latest?: boolean;
  readonly last?: string;
}

/** Declares them. */
export function addContainerViews(program: Command): void {
  addPs(program);
  program
    .command('inspect <container...>')
    .description('Show containers in full')
    .option('-f, --format <format>', 'json, or a template such as {{.State.Status}}')
    .action(async (refs: readonly string[], { format }: { format?: string }) => {
      const shown = await withCluster(async (_control, engine) => {
        const found: object[] = [];
        for (const container of refs)
          found.push(inspectContainer(await engine.inspectContainer({ container }, brief())));
        return found;
      });
      if (format === 'json') process.stdout.write(shown.map((one) => `${JSON.stringify(one)}\n`).join(''));
      else if (format !== undefined) process.stdout.write(shown.map((one) => `${filled(format, one)}\n`).join(''));
      else process.stdout.write(`${JSON.stringify(shown, undefined, 4)}\n`);
    });
  program
    .command('logs <container>')
    .description('Show what a container without a service has said')
    .option('-f, --follow', 'go on with what it says')
    .option('-n, --tail <lines>', 'the last lines only, or all', 'all')
    .option('--since <time>', 'a duration back, a date, or seconds since the epoch')
    .option('-t, --timestamps', 'with the time of each line')
    .action(showLogs);
  program
    .command('top <container> [ps-argument...]')
    .description('Show the processes of a container')
    .passThroughOptions()
    .action(async (container: string, args: readonly string[]) => {
      const { titles, processes } = await withCluster((_control, engine) =>
        engine.containerTop({ container, arguments: [...args] }, brief()),
      );
      const columns = titles.map((title, at) => ({ key: String(at), title }));
      const rows = processes.map(({ cells }) => Object.fromEntries(cells.map((cell, at) => [String(at), cell])));
      process.stdout.write(render(columns, rows, undefined));
    });
  program.command('port <container> [port]').description('Show the ports of a container on its node').action(showPorts);
  const stats = program.command('stats [container...]').description('Show what containers use');
  stats.option('--format <format>', 'table, json, or a template of {{.Key}}s').option('--no-stream', 'once');
  stats.action(showStats);
}

function addPs(program: Command): void {
  const ps = program
    .command('ps')
    .description('List containers without a service, of all nodes')
    .option('-f, --filter <key=value>', 'id, name, label, status, ancestor, exited, health or node', collected, [])
    .option('--format <format>', 'table, json, or a template of {{.Key}}s')
    .option('--no-trunc', 'whole ids and commands')
    .option('-n, --last <n>', 'the newest, whatever their state');
  addSwitch(ps, '-a, --all', 'those that do not run too');
  addSwitch(ps, '-q, --quiet', 'ids only');
  addSwitch(ps, '-l, --latest', 'the newest one, whatever its state');
  ps.action(listContainers);
}

async function listContainers(flags: PsFlags): Promise<void> {
  const filters = containerFilters(flags.filter);
  const last = flags.latest === true ? 1 : flags.last === undefined ? undefined : wholeNumber(flags.last, '--last');
  const { containers, unasked } = await withCluster((control) => control.listContainers({}, brief()));
  for (const { hostname, reason } of unasked)
    process.stderr.write(`covey: node ${hostname} was not asked: ${reason}\n`);
  const isShown = (view: covey.v1.ContainerView): boolean =>
    flags.all === true || last !== undefined || filters.status.length > 0 || filters.exited.length > 0 || isLive(view);
  const now = Date.now();
  const chosen = containers.filter((view) => isShown(view) && passesContainer(view, filters)).slice(0, last);
  const rows = chosen.map((view) => containerRow(view, now, !flags.trunc));
  if (flags.quiet === true) process.stdout.write(rows.map((row) => `${row.ID}\n`).join(''));
  else process.stdout.write(render(COLUMNS, rows, flags.format));
}

/** Of a node that cannot be asked nobody knows; then it is shown. */
function isLive({ state }: covey.v1.ContainerView): boolean {
  return state !== 'exited' && state !== 'created' && state !== 'dead';
}

interface LogFlags {
  readonly follow?: boolean;
  readonly tail: string;
  readonly since?: string;
  readonly timestamps?: boolean;
}

async function showLogs(container: string, flags: LogFlags): Promise<void> {
  const tail = flags.tail === 'all' ? -1 : wholeNumber(flags.tail, '--tail');
  const since = flags.since === undefined ? 0 : momentOf(flags.since, Date.now());
  const request = { container, follow: flags.follow ?? false, tail, since };
  await withCluster(async (_control, engine) => {
    for await (const line of engine.containerLogs(request, { signal: interruptible() })) {
      const to = line.stream === 'stderr' ? process.stderr : process.stdout;
      if (flags.timestamps === true) to.write(`${line.time} `);
      to.write(line.text);
      if (!line.partial) to.write('\n');
    }
  });
}

/** A duration back from now, seconds since the epoch, or a date. */
function momentOf(text: string, now: number): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1_000);
  const date = Date.parse(text);
  return /^\d{4}-/.test(text) && !Number.isNaN(date) ? date : now - parseDuration(text, '--since');
}

async function showPorts(container: string, wanted: string | undefined): Promise<void> {
  const { spec } = await withCluster((_control, engine) => engine.inspectContainer({ container }, brief()));
  const ports = (spec?.ports ?? []).map(({ target, protocol, published }) => ({
    key: `${target}/${protocol}`,
    published,
  }));
  if (wanted === undefined) {
    for (const { key, published } of ports) process.stdout.write(`${key} -> 0.0.0.0:${published}\n`);
    return;
  }
  const key = wanted.includes('/') ? wanted : `${wanted}/tcp`;
  const found = ports.filter((port) => port.key === key);
  if (found.length === 0) {
    throw new ClusterError('not_found', `no public port '${wanted}' published for ${container}`);
  }
  for (const { published } of found) process.stdout.write(`0.0.0.0:${published}\n`);
}

interface Measured {
  readonly view: covey.v1.ContainerView;
  readonly before: covey.v1.ContainerUsage;
  readonly after: covey.v1.ContainerUsage;
}

async function showStats(refs: readonly string[], flags: { format?: string; stream: boolean }): Promise<void> {
  const signal = interruptible();
  await withCluster(async (control, engine) => {
    do {
      const views = refs.length === 0 ? await running(control) : await named(engine, refs);
      const measured = await Promise.all(views.map((view) => measure(engine, view, signal)));
      const text = render(STATS, measured.map(statsRow), flags.format);
      // As Docker's: each look takes the place of the last.
      process.stdout.write(flags.stream && process.stdout.isTTY ? `\x1b[2J\x1b[H${text}` : text);
    } while (flags.stream && !signal.aborted);
  });
}

async function running(control: {
  listContainers: (request: object, options: ReturnType<typeof brief>) => Promise<covey.v1.ContainerList>;
}) {
  const { containers } = await control.listContainers({}, brief());
  return containers.filter(({ state }) => state === 'running' || state === 'paused');
}

async function named(engine: EngineClient, refs: readonly string[]): Promise<readonly covey.v1.ContainerView[]> {
  return await Promise.all(refs.map((container) => engine.inspectContainer({ container }, brief())));
}

/** Two looks a second apart, which the node times. */
async function measure(engine: EngineClient, view: covey.v1.ContainerView, signal: AbortSignal): Promise<Measured> {
  const looks: covey.v1.ContainerUsage[] = [];
  for await (const look of engine.containerStats({ container: view.id, node: view.nodeId, follow: true }, { signal })) {
    looks.push(look);
    if (looks.length === 2) break;
  }
  const [before, after = before] = looks;
  if (before === undefined || after === undefined)
    throw new ClusterError('unavailable', `container ${view.name} tells nothing`);
  return { view, before, after };
}

function statsRow({ view, before, after }: Measured): Row {
  const limit = after.memoryLimitBytes;
  return {
    Container: view.id.slice(0, 12),
    ID: view.id,
    Name: view.name,
    CPUPerc: `${cpuPercent(before, after).toFixed(2)}%`,
    MemUsage: `${formatBinary(after.memoryBytes)} / ${formatBinary(limit)}`,
    MemPerc: `${(limit === 0 ? 0 : (after.memoryBytes / limit) * 100).toFixed(2)}%`,
    NetIO: `${formatBytes(after.receivedBytes)} / ${formatBytes(after.sentBytes)}`,
    BlockIO: `${formatBytes(after.readBytes)} / ${formatBytes(after.writtenBytes)}`,
    PIDs: String(after.pids),
  };
}

/** Containers without a service as Docker shows them: rows of `ps`, `inspect`, ports. Pure. Source: Docker Engine API 1.47, Container. */
import { formatAge } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import type { Row } from './table.ts';

type View = covey.v1.ContainerView;

const COMMAND_MAX = 20;
const ID_LENGTH = 12;
const NANOS_PER_MS = 1_000_000;

/** Docker's words of where it stands: `Up 2 minutes (healthy)`, `Exited (3) 5 seconds ago`. */
export function statusOf(view: View, now: number): string {
  const { state, startedAt, finishedAt, exitCode, health } = view;
  const since = (at: number): string => formatAge(Math.max(0, now - at));
  const well = health === '' ? '' : ` (${health === 'starting' ? 'health: starting' : health})`;
  switch (state) {
    case 'running':
      return `Up ${since(startedAt)}${well}`;
    case 'paused':
      return `Up ${since(startedAt)} (Paused)`;
    case 'restarting':
      return `Restarting (${exitCode}) ${since(finishedAt)} ago`;
    case 'exited':
      return `Exited (${exitCode}) ${since(finishedAt)} ago`;
    case 'created':
      return 'Created';
    default:
      return 'Unknown (its node cannot be asked)';
  }
}

/** `0.0.0.0:8080->80/tcp, …` */
export function portsOf(view: View): string {
  return (view.spec?.ports ?? [])
    .map(({ published, target, protocol }) => `0.0.0.0:${published}->${target}/${protocol}`)
    .join(', ');
}

/** A row of `ps`. */
export function containerRow(view: View, now: number, isWhole: boolean): Row {
  const command = view.command.join(' ').replaceAll(/\s+/g, ' ');
  const short = command.length > COMMAND_MAX ? `${command.slice(0, COMMAND_MAX - 1)}…` : command;
  const image = view.spec?.template?.container?.image ?? '';
  const labels = Object.entries(view.spec?.template?.container?.labels ?? {});
  return {
    ID: isWhole ? view.id : view.id.slice(0, ID_LENGTH),
    Image: image,
    Command: `"${isWhole ? command : short}"`,
    CreatedAt: new Date(view.createdAt).toISOString(),
    RunningFor: `${formatAge(Math.max(0, now - view.createdAt))} ago`,
    Status: statusOf(view, now),
    State: view.state,
    Ports: portsOf(view),
    Names: view.name,
    Node: view.nodeName,
    Networks: view.spec?.network ?? '',
    Labels: labels.map(([key, value]) => `${key}=${value}`).join(','),
  };
}

/** `docker inspect`'s shape, with the node beside it. */
export function inspectContainer(view: View): object {
  const { spec, state } = view;
  const template = spec?.template;
  const container = template?.container;
  return {
    Id: view.id,
    Created: time(view.createdAt),
    Path: view.command[0] ?? '',
    Args: view.command.slice(1),
    State: {
      Status: state,
      Running: state === 'running' || state === 'paused' || state === 'restarting',
      Paused: state === 'paused',
      Restarting: state === 'restarting',
      OOMKilled: view.oomKilled,
      Dead: false,
      Pid: view.pid,
      ExitCode: view.exitCode,
      Error: view.error,
      StartedAt: time(view.startedAt),
      FinishedAt: time(view.finishedAt),
      ...(view.health === '' ? {} : { Health: { Status: view.health } }),
    },
    Image: container?.imageDigest ?? '',
    Name: `/${view.name}`,
    RestartCount: view.restartCount,
    LogPath: view.logPath,
    Node: { ID: view.nodeId, Name: view.nodeName },
    Config: {
      Hostname: container?.hostname ?? view.id.slice(0, ID_LENGTH),
      User: container?.user ?? '',
      Tty: container?.tty ?? false,
      OpenStdin: (spec?.input ?? '') !== '',
      StdinOnce: spec?.input === 'once',
      Env: container?.env ?? [],
      Cmd: container?.args?.items ?? null,
      Entrypoint: container?.entrypoint?.items ?? null,
      Image: container?.image ?? '',
      WorkingDir: container?.workdir ?? '',
      Labels: container?.labels ?? {},
      ...(container?.stopSignal ? { StopSignal: container.stopSignal } : {}),
      StopTimeout: Math.round((container?.stopGraceMs ?? 0) / 1_000),
    },
    HostConfig: hostConfig(view),
    Mounts: (spec?.mounts ?? []).map(mountPoint),
    NetworkSettings: { IPAddress: view.address, Ports: portMap(view) },
  };
}

function mountPoint({ kind, source, target, readOnly, propagation, options }: covey.v1.IMount): object {
  const isReadOnly = readOnly === true || (options ?? []).includes('ro');
  const named = kind === 'volume' ? { Name: source, Driver: 'local' } : { Source: source };
  return { Type: kind, ...named, Destination: target, Mode: '', RW: !isReadOnly, Propagation: propagation };
}

function hostConfig(view: View): object {
  const { spec } = view;
  const template = spec?.template;
  const container = template?.container;
  const { limitNanoCpus = 0, limitMemoryBytes = 0, limitPids = 0, limitMemorySwapBytes = 0 } = template ?? {};
  return {
    NetworkMode: spec?.network ?? '',
    PortBindings: bindings(spec),
    RestartPolicy: { Name: spec?.restart ?? '', MaximumRetryCount: spec?.restartMax ?? 0 },
    AutoRemove: spec?.autoRemove ?? false,
    LogConfig: { Type: container?.log?.driver ?? 'local', Config: container?.log?.options ?? {} },
    ReadonlyRootfs: container?.readOnly ?? false,
    Privileged: container?.process?.privileged ?? false,
    CapAdd: container?.process?.capAdd ?? [],
    CapDrop: container?.process?.capDrop ?? [],
    Init: container?.process?.init ?? false,
    UsernsMode: container?.userns ?? '',
    Devices: (view.spec?.devices ?? []).map(({ source, target, access }) => ({
      PathOnHost: source,
      PathInContainer: target,
      CgroupPermissions: access,
    })),
    NanoCpus: limitNanoCpus,
    Memory: limitMemoryBytes,
    MemorySwap: limitMemorySwapBytes,
    PidsLimit: limitPids,
  };
}

function bindings(spec: View['spec']): object {
  return Object.fromEntries(
    (spec?.ports ?? []).map(({ target, protocol, published }) => [
      `${target}/${protocol}`,
      [{ HostIp: '', HostPort: String(published) }],
    ]),
  );
}

function portMap(view: View): object {
  return view.address === '' ? {} : bindings(view.spec);
}

/** Docker's time of what never was. */
function time(ms: number): string {
  return ms === 0 ? '0001-01-01T00:00:00Z' : new Date(ms).toISOString();
}

/** Between two looks: per cent of one CPU, as `docker stats` counts. */
export function cpuPercent(before: covey.v1.ContainerUsage, after: covey.v1.ContainerUsage): number {
  const passed = (after.at - before.at) * NANOS_PER_MS;
  return passed <= 0 ? 0 : ((after.cpuNanos - before.cpuNanos) / passed) * 100;
}

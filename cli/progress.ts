/** Follows one service on one stream until it stands: live on a terminal, a line a change elsewhere. */

import { systemClock } from '../common/clock.ts';
import { formatDuration } from '../common/units.ts';
import type { covey } from '../proto/messages.ts';
import type { ControlClient } from './client.ts';
import { EXIT } from './exit.ts';

type Picture = covey.v1.Progress;

export interface Followed {
  readonly id: string;
  readonly name: string;
  readonly version: number;
}

export interface FollowOptions {
  readonly quiet: boolean;
  /** Absent: as long as it takes. */
  readonly timeoutMs?: number;
}

/** With nothing placeable and nothing else moving for so long, waiting is given up with `cannotPlace`. */
const UNPLACEABLE_MS = 10_000;
/** More slots than this are shown as a total only, as Docker does. */
const BARS_MAX = 20;
const BAR_WIDTH = 50;
/** verdicts of control.proto */
const CONVERGED = 1;
const PAUSED = 2;
const ROLLED_BACK = 3;
const REMOVED = 4;

const STEPS = ['new', 'pending', 'assigned', 'accepted', 'preparing', 'ready', 'starting', 'running'];

/** Why following ends before the service stands. */
type GivenUp = 'interrupted' | 'deadline' | 'stuck';

/** Resolves to the exit code. Ctrl-C stops the following, not the service. */
export async function follow(control: ControlClient, service: Followed, options: FollowOptions): Promise<number> {
  const stop = new AbortController();
  const onInterrupt = () => stop.abort('interrupted');
  process.once('SIGINT', onInterrupt);
  const { timeoutMs } = options;
  const cancelDeadline =
    timeoutMs === undefined ? undefined : systemClock.after(timeoutMs, () => stop.abort('deadline'));
  const screen = options.quiet ? undefined : new Screen(process.stdout.isTTY === true);
  let cancelStuck: (() => void) | undefined;
  let last: Picture | undefined;
  try {
    for await (const picture of control.watchProgress(
      { id: service.id, version: service.version },
      { signal: stop.signal },
    )) {
      last = picture;
      cancelStuck?.();
      if (cannotMove(picture)) cancelStuck = systemClock.after(UNPLACEABLE_MS, () => stop.abort('stuck'));
      screen?.show(picture);
      if (picture.verdict !== 0) return conclude(picture, service, screen);
    }
    process.stderr.write('covey: the manager ended the progress stream; the service goes on by itself\n');
    return EXIT.error;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    screen?.end();
    return giveUp(stop.signal.reason as GivenUp, last, service, options);
  } finally {
    cancelStuck?.();
    cancelDeadline?.();
    process.off('SIGINT', onInterrupt);
  }
}

/** Tasks wait for a node, and no other slot is on its way. */
function cannotMove(picture: Picture): boolean {
  return (
    picture.cannotPlace &&
    picture.slots.every((slot) => slot.refusals.length > 0 || slot.state === 'running' || slot.state === 'pending')
  );
}

function conclude(picture: Picture, service: Followed, screen: Screen | undefined): number {
  screen?.end();
  switch (picture.verdict) {
    case CONVERGED:
      screen?.say(`verify: service ${service.name} converged`);
      return EXIT.done;
    case PAUSED:
      process.stderr.write(`covey: service ${service.name}: ${picture.message}\n`);
      return EXIT.error;
    case ROLLED_BACK:
      process.stderr.write(`covey: service ${service.name}: ${picture.message}\n`);
      return EXIT.rolledBack;
    case REMOVED:
      process.stderr.write(`covey: service ${service.name} was removed meanwhile\n`);
      return EXIT.error;
    default:
      return EXIT.error;
  }
}

function giveUp(reason: GivenUp, last: Picture | undefined, service: Followed, options: FollowOptions): number {
  const goesOn = `the service goes on by itself; see \`covey service ps ${service.name}\``;
  const state = last === undefined ? '' : ` (${last.running} of ${last.desired} tasks run)`;
  switch (reason) {
    case 'interrupted':
      process.stderr.write(`covey: no longer waiting${state}: ${goesOn}\n`);
      return EXIT.interrupted;
    case 'deadline':
      process.stderr.write(
        `covey: ${service.name} has not converged within ${formatDuration(options.timeoutMs ?? 0)}${state}: ${last?.message ?? ''}; ${goesOn}\n`,
      );
      return EXIT.deadline;
    case 'stuck':
      process.stderr.write(`covey: ${service.name} cannot be placed${state}\n${refusals(last)}`);
      return EXIT.cannotPlace;
  }
}

function refusals(picture: Picture | undefined): string {
  const stuck = picture?.slots.find((slot) => slot.refusals.length > 0);
  if (stuck === undefined) return `  ${picture?.message ?? ''}\n`;
  return stuck.refusals.map((one) => `  ${one.hostname || one.nodeId}: ${one.reason}\n`).join('');
}

/** Draws pictures: over each other on a terminal, as lines of what changed elsewhere. */
class Screen {
  readonly #live: boolean;
  #drawn = 0;
  #said = new Map<string, string>();

  constructor(live: boolean) {
    this.#live = live;
  }

  show(picture: Picture): void {
    if (this.#live) this.#draw(picture);
    else this.#tell(picture);
  }

  say(line: string): void {
    process.stdout.write(`${line}\n`);
  }

  /** Leaves the last picture standing. */
  end(): void {
    this.#drawn = 0;
  }

  #draw(picture: Picture): void {
    const lines = [`overall progress: ${picture.running} out of ${picture.desired} tasks`];
    if (picture.desired <= BARS_MAX) for (const slot of picture.slots) lines.push(bar(slot, picture.desired));
    lines.push(picture.message);
    const width = process.stdout.columns ?? 120;
    const text = lines.map((line) => `\x1b[2K${line.slice(0, width - 1)}\n`).join('');
    const up = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A`;
    process.stdout.write(`${up}${text}\x1b[0J`);
    this.#drawn = lines.length;
  }

  #tell(picture: Picture): void {
    this.#once('total', `overall progress: ${picture.running} out of ${picture.desired} tasks`);
    for (const slot of picture.slots) {
      const why = slot.message === '' ? '' : `: ${slot.message}`;
      this.#once(`slot ${slot.slot}`, `${slot.slot}/${picture.desired}: ${slot.state}${why}`);
    }
    if (picture.rollout !== null && picture.rollout !== undefined)
      this.#once('rollout', `update: ${picture.rollout.state}`);
  }

  #once(key: string, line: string): void {
    if (this.#said.get(key) === line) return;
    this.#said.set(key, line);
    this.say(line);
  }
}

function bar(slot: Picture['slots'][number], desired: number): string {
  const done = Math.max(STEPS.indexOf(slot.state), 0);
  const filled = Math.round((done / (STEPS.length - 1)) * BAR_WIDTH);
  const drawn = `${'='.repeat(Math.max(filled - 1, 0))}${filled > 0 ? '>' : ''}`.padEnd(BAR_WIDTH);
  const why = slot.message === '' ? '' : ` ${slot.message}`;
  return `${slot.slot}/${desired}: ${slot.state.padEnd(9)} [${drawn}]${why}`;
}

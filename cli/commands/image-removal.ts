/** `image rm` and `image prune`. */
import type { Command } from 'commander';
import { toClusterError } from '../../common/errors.ts';
import { formatBytes, parseDuration } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import { agreed } from '../agreed.ts';
import { brief, interruptible, withCluster } from '../client.ts';
import { EXIT } from '../exit.ts';
import { addSwitch } from '../flags/switch.ts';
import { collected } from '../flags/values.ts';
import { noFilter } from '../format/image-filter.ts';

interface PruneFlags {
  readonly all?: boolean;
  readonly force?: boolean;
  readonly filter: readonly string[];
}

const PRUNE_KEYS = ['until', 'label', 'label!'];

/** Declares both. */
export function addImageRemoval(image: Command): void {
  const rm = image.command('rm <image...>').alias('remove').description('Remove images that nobody uses');
  addSwitch(rm, '-f, --force', 'all names of a digest; an image that is not there is no error');
  rm.action(removeImages);
  const prune = image
    .command('prune')
    .description('Remove images that lost their name and that nobody uses')
    .option('--filter <key=value>', 'until=TIME, label=KEY[=VALUE] or label!=…; may be repeated', collected, []);
  addSwitch(prune, '-a, --all', 'every image that nobody uses');
  addSwitch(prune, '-f, --force', 'do not ask');
  prune.action(pruneImages);
}

/** One after the other; what fails is told, and the rest is removed all the same. */
async function removeImages(refs: readonly string[], { force = false }: { force?: boolean }): Promise<void> {
  await withCluster(async (control) => {
    for (const ref of refs) {
      try {
        say(await control.removeImage({ ref, force }, brief()), '');
      } catch (cause) {
        const error = toClusterError(cause);
        if (refs.length === 1 && !(force && error.code === 'not_found')) throw error;
        process.stderr.write(`covey: ${error.message}\n`);
        if (!(force && error.code === 'not_found')) process.exitCode = EXIT.error;
      }
    }
  });
}

async function pruneImages(flags: PruneFlags): Promise<void> {
  const all = flags.all ?? false;
  const wish = pruneWish(flags.filter, Date.now());
  const which = all ? 'all images without at least one service or container using them' : 'all dangling images';
  if (flags.force !== true && !(await agreed(`WARNING! This will remove ${which}.`))) return;
  const removed = await withCluster((control) =>
    control.pruneImages({ ...wish, all, plan: false }, { signal: interruptible() }),
  );
  if (removed.untagged.length > 0) {
    process.stdout.write('Deleted Images:\n');
    say(removed, 'lower');
    process.stdout.write('\n');
  }
  process.stdout.write(`Total reclaimed space: ${formatBytes(removed.reclaimedBytes)}\n`);
}

/** Docker writes the words small in one place and large in the other. */
function say({ untagged, deleted }: covey.v1.RemovedImages, letters: 'lower' | ''): void {
  const [gone, away] = letters === 'lower' ? ['untagged', 'deleted'] : ['Untagged', 'Deleted'];
  for (const name of untagged) process.stdout.write(`${gone}: ${name}\n`);
  for (const digest of deleted) process.stdout.write(`${away}: ${digest}\n`);
}

/** @param now  what `until=24h` counts back from */
export function pruneWish(
  filters: readonly string[],
  now: number,
): { until: number; labels: string[]; labelsNot: string[] } {
  const wish = { until: 0, labels: [] as string[], labelsNot: [] as string[] };
  for (const filter of filters) {
    const [, key = '', value = ''] = /^(until|label!?)=(.+)$/s.exec(filter) ?? [];
    if (key === 'until') wish.until = momentOf(value, now);
    else if (key === 'label') wish.labels.push(value);
    else if (key === 'label!') wish.labelsNot.push(value);
    else throw noFilter(filter, PRUNE_KEYS);
  }
  return wish;
}

/** A duration back from now, seconds since the epoch, or a date. Source: docker, opts `until`. */
export function momentOf(text: string, now: number): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1_000);
  const date = Date.parse(text);
  return /^\d{4}-/.test(text) && !Number.isNaN(date) ? date : now - parseDuration(text, '--filter');
}

/** `image ls`: Docker's columns, flags and filters. */
import type { Command } from 'commander';
import type { covey } from '../../proto/messages.ts';
import { brief, type ControlClient, withCluster } from '../client.ts';
import { addSwitch } from '../flags/switch.ts';
import { collected } from '../flags/values.ts';
import { imageRow } from '../format/image.ts';
import { type ImageFilters, imageFilters, type ListedImage, passes } from '../format/image-filter.ts';
import { type Column, render } from '../format/table.ts';

interface ListFlags {
  readonly format?: string;
  readonly quiet?: boolean;
  readonly trunc: boolean;
  readonly digests?: boolean;
  readonly filter: readonly string[];
}

/** Declares the command. */
export function addImageList(image: Command): void {
  const command = image
    .command('ls [repository[:tag]]')
    .alias('list')
    .description('List images')
    .option('--format <format>', 'table, json, or a template of {{.Key}}s')
    .option('--no-trunc', 'whole ids')
    .option('-f, --filter <key=value>', 'reference, label, before, since or dangling; may be repeated', collected, []);
  addSwitch(command, '-q, --quiet', 'ids only');
  addSwitch(command, '--digests', 'show what registries call them');
  command.action(listImages);
}

async function listImages(argument: string | undefined, flags: ListFlags): Promise<void> {
  const filters = imageFilters([...flags.filter, ...(argument === undefined ? [] : [`reference=${argument}`])]);
  const found = await withCluster((control) => listed(control, filters));
  const now = Date.now();
  const rows = found.filter((one) => passes(one, filters)).map((one) => imageRow(one, now, !flags.trunc));
  if (flags.quiet === true) process.stdout.write(rows.map((row) => `${row.ID}\n`).join(''));
  else process.stdout.write(render(columns(flags.digests ?? false), rows, flags.format));
}

/** Labels and the times of `before` and `since` are asked for only when a filter needs them. */
async function listed(control: ControlClient, filters: ImageFilters): Promise<readonly ListedImage[]> {
  const { images } = await control.listImages({ untagged: filters.dangling ?? false }, brief());
  for (const ref of [filters.before, filters.since]) {
    if (ref === undefined) continue;
    const { image } = await control.inspectImage({ ref }, brief());
    if (image) filters.times.set(ref, image.loadedAt);
  }
  const rows: ListedImage[] = [];
  for (const image of images) rows.push({ ...image, labels: await labelsOf(control, image, filters) });
  return rows;
}

async function labelsOf(
  control: ControlClient,
  image: covey.v1.Image,
  filters: ImageFilters,
): Promise<Readonly<Record<string, string>>> {
  if (filters.labels.length === 0) return {};
  const { config } = await control.inspectImage({ ref: image.reference }, brief());
  const file = JSON.parse(config) as { readonly config?: { readonly Labels?: Record<string, string> | null } };
  return file.config?.Labels ?? {};
}

function columns(hasDigests: boolean): readonly Column[] {
  return [
    { key: 'Repository', title: 'REPOSITORY' },
    { key: 'Tag', title: 'TAG' },
    ...(hasDigests ? [{ key: 'Digest', title: 'DIGEST' }] : []),
    { key: 'ID', title: 'IMAGE ID' },
    { key: 'CreatedSince', title: 'LOADED' },
    { key: 'Size', title: 'SIZE' },
  ];
}

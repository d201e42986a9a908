/** An image's own words, as Docker shows them. Comes in: manifest and config as they are. Goes out: objects and rows. Pure. */
import { formatAge, formatBytes } from '../../common/units.ts';
import type { ListedImage } from './image-filter.ts';
import type { Row } from './table.ts';

/** What a manager tells of an image. */
export interface ImageWords {
  readonly reference: string;
  readonly digest: string;
  /** What its registry calls it; empty = as `digest`. */
  readonly indexDigest: string;
  readonly size: number;
  readonly references: readonly string[];
  readonly manifest: string;
  readonly config: string;
}

interface ConfigJson {
  readonly created?: string;
  readonly author?: string;
  readonly architecture?: string;
  readonly variant?: string;
  readonly os?: string;
  readonly config?: object;
  readonly rootfs?: { readonly diff_ids?: readonly string[] };
  readonly history?: readonly {
    readonly created?: string;
    readonly created_by?: string;
    readonly comment?: string;
    readonly empty_layer?: boolean;
  }[];
}

const CREATED_BY_MAX = 45;
const ID_LENGTH = 12;

/** `docker image inspect`'s shape; Id is the manifest's digest, as `image ls` shows it. */
export function inspectImage(words: ImageWords): object {
  const file = JSON.parse(words.config) as ConfigJson;
  return {
    Id: words.digest,
    RepoTags: words.references,
    RepoDigests: [`${nameOf(words.reference)}@${words.indexDigest || words.digest}`],
    Created: file.created ?? '',
    Author: file.author ?? '',
    Architecture: file.architecture ?? '',
    Variant: file.variant ?? '',
    Os: file.os ?? '',
    Size: words.size,
    Config: file.config ?? {},
    RootFS: { Type: 'layers', Layers: file.rootfs?.diff_ids ?? [] },
  };
}

/** A row of `image ls`. */
export function imageRow(one: Omit<ListedImage, 'labels'>, now: number, isWhole: boolean): Row {
  const [at, colon] = [one.reference.indexOf('@'), one.reference.lastIndexOf(':')];
  const isUntagged = at >= 0;
  return {
    Repository: one.reference.slice(0, isUntagged ? at : colon),
    Tag: isUntagged ? '<none>' : one.reference.slice(colon + 1),
    Digest: one.indexDigest || one.digest,
    ID: isWhole ? one.digest : one.digest.replace('sha256:', '').slice(0, ID_LENGTH),
    CreatedSince: `${formatAge(now - one.loadedAt)} ago`,
    Size: formatBytes(one.size),
  };
}

/** Newest first, as Docker's; sizes are of the packed layers. */
export function historyRows(words: ImageWords, now: number, isWhole: boolean): readonly Row[] {
  const file = JSON.parse(words.config) as ConfigJson;
  const { layers } = JSON.parse(words.manifest) as { layers: readonly { readonly size: number }[] };
  let next = 0;
  const rows = (file.history ?? []).map((step) => {
    const size = step.empty_layer === true ? 0 : (layers[next++]?.size ?? 0);
    const made = Date.parse(step.created ?? '');
    return {
      ID: '<missing>',
      CreatedSince: Number.isNaN(made) ? '' : `${formatAge(now - made)} ago`,
      CreatedBy: isWhole ? (step.created_by ?? '') : shortened(step.created_by ?? ''),
      Size: formatBytes(size),
      Comment: step.comment ?? '',
    };
  });
  const id = words.digest.replace('sha256:', '');
  return rows
    .toReversed()
    .map((row, at) => (at === 0 ? { ...row, ID: isWhole ? words.digest : id.slice(0, ID_LENGTH) } : row));
}

function shortened(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length <= CREATED_BY_MAX ? line : `${line.slice(0, CREATED_BY_MAX - 1)}…`;
}

function nameOf(reference: string): string {
  return reference.slice(0, reference.lastIndexOf(':'));
}

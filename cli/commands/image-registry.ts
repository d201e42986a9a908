/** `image pull` and `image push`: images from and to their registries. */
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import { bareName, parseReference } from '../../common/oci/reference.ts';
import { placeOf } from '../../common/registry/place.ts';
import { brief, type ControlClient, interruptible, withCluster } from '../client.ts';
import { collected } from '../flags/values.ts';
import { type PlaceFlags, placeImage } from './image-place.ts';

type Say = (line: string) => void;

/** Declares both. */
export function addImageRegistry(image: Command): void {
  image
    .command('pull <name>')
    .description('Bring an image from its registry into the cluster')
    .option('-a, --all-tags', 'every tag that the registry has of the name')
    .option('-q, --quiet', 'the name only')
    .action(pullImage);
  image
    .command('push <name>')
    .description('Bring an image of the cluster to its registry, or to its nodes')
    .option('-a, --all-tags', 'every tag of the name that the cluster has')
    .option('--to-cluster', 'to every ready node, before a task needs it; no registry is asked')
    .option('--node <node>', 'with --to-cluster: to this node only; may be repeated', collected, [])
    .option('-q, --quiet', 'the name only')
    .action(pushImage);
}

interface PullFlags {
  readonly allTags?: boolean;
  readonly quiet?: boolean;
}

async function pullImage(text: string, flags: PullFlags): Promise<void> {
  const say = sayer(flags);
  const signal = interruptible();
  await withCluster(async (control) => {
    if (flags.allTags !== true) {
      process.stdout.write(`${await pullOne(control, text, say, signal)}\n`);
      return;
    }
    const name = bareName(text);
    const { references } = await control.listTags({ name }, { signal });
    if (references.length === 0) throw new ClusterError('not_found', `the registry has no tag of ${name}`);
    for (const reference of references) {
      say(`${reference}: Pulling`);
      await pullOne(control, reference, say, signal);
    }
    process.stdout.write(`${name}\n`);
  });
}

/** Gives the image's name. */
async function pullOne(control: ControlClient, reference: string, say: Say, signal: AbortSignal): Promise<string> {
  for await (const { blob, received, size, existed, image, isNew } of control.pullImage({ reference }, { signal })) {
    const id = blob.replace('sha256:', '').slice(0, 12);
    if (image === null || image === undefined) {
      if (received === size) say(`${id}: ${existed ? 'Already exists' : 'Pull complete'}`);
      continue;
    }
    const outcome = isNew ? 'Downloaded newer image for' : 'Image is up to date for';
    say(`Digest: ${image.digest}\nStatus: ${outcome} ${image.reference}`);
    return image.reference ?? reference;
  }
  throw new ClusterError('unavailable', `the manager ended the pull of ${reference} without a word`, {
    hint: 'try again',
  });
}

interface PushFlags extends PlaceFlags {
  readonly allTags?: boolean;
  readonly toCluster?: boolean;
}

async function pushImage(text: string, flags: PushFlags): Promise<void> {
  if (flags.toCluster === true) {
    if (flags.allTags === true) throw onlyWithout('--all-tags', 'give each image by its name');
    return await placeImage(text, flags);
  }
  if (flags.node.length > 0) {
    throw new ClusterError('invalid', '--node is for --to-cluster', { field: '--node', hint: 'add --to-cluster' });
  }
  const name = flags.allTags === true ? bareName(text) : parseReference(text).name;
  const { registry, repository } = placeOf(name);
  const say = sayer(flags);
  const signal = interruptible();
  await withCluster(async (control) => {
    const references = flags.allTags === true ? await tagsHere(control, name) : [parseReference(text).reference];
    say(`The push refers to repository [${registry}/${repository}]`);
    for (const reference of references) await pushOne(control, reference, say, signal);
    if (flags.quiet === true) process.stdout.write(`${flags.allTags === true ? name : references[0]}\n`);
  });
}

/** What the cluster has of a name, in alphabetical order. */
async function tagsHere(control: ControlClient, name: string): Promise<readonly string[]> {
  const { images } = await control.listImages({}, brief());
  const here = images.map(({ reference }) => reference ?? '').filter((each) => parseReference(each).name === name);
  if (here.length > 0) return here;
  // The first words are Docker's.
  throw new ClusterError('not_found', `An image does not exist locally with the tag: ${name}`, {
    hint: 'covey image ls shows those of the cluster; covey image tag gives one this name',
  });
}

async function pushOne(control: ControlClient, reference: string, say: Say, signal: AbortSignal): Promise<void> {
  const { tag } = parseReference(reference);
  for await (const { blob, size, outcome, from, digest } of control.pushImage({ reference }, { signal })) {
    const id = blob.replace('sha256:', '').slice(0, 12);
    if (outcome === 'exists') say(`${id}: Layer already exists`);
    if (outcome === 'mounted') say(`${id}: Mounted from ${from}`);
    if (outcome === 'sent') say(`${id}: Pushed`);
    if (digest !== '') say(`${tag}: digest: ${digest} size: ${size}`);
  }
}

function sayer({ quiet }: { readonly quiet?: boolean }): Say {
  return quiet === true ? () => undefined : (line) => process.stdout.write(`${line}\n`);
}

function onlyWithout(field: string, hint: string): ClusterError {
  return new ClusterError('invalid', `${field} is for registries, --to-cluster for nodes`, { field, hint });
}

/** A name for a service whose user gave none, as Docker makes one up: an adjective and an animal. */
import { randomInt } from 'node:crypto';

const ADJECTIVES = (
  'agile amber bold brave bright brisk calm candid clever cosy crisp daring eager early fair fleet fond frank gentle glad ' +
  'golden grand happy hardy honest humble jolly keen kind lively loyal lucky mellow merry mild modest neat nimble noble ' +
  'patient placid plucky polite proud quick quiet ready robust rosy serene sharp shiny silent sleek smart snug solid ' +
  'spry steady stout sunny swift tidy trusty vivid warm wise witty zesty'
).split(' ');

/** Birds, mostly of the kind that flock. */
const BIRDS = (
  'avocet bittern blackbird bluetit bullfinch bunting chaffinch chough coot cormorant crane crossbill curlew dipper dove ' +
  'dunlin dunnock eider fieldfare finch flycatcher gannet godwit goldcrest goldfinch goose grebe grouse gull heron hobby ' +
  'hoopoe jackdaw jay kestrel kingfisher kite knot lapwing lark linnet magpie martin merlin nightjar nuthatch oriole ' +
  'osprey ouzel owl partridge pheasant pipit plover puffin quail raven redstart robin rook sanderling shrike siskin snipe ' +
  'sparrow starling stork swallow swan swift teal tern thrush treecreeper turnstone wagtail warbler waxwing whimbrel wren'
).split(' ');

/** `adjective_bird`; some thousands, so that a clash is rare: the cluster refuses it and the user tries again. */
export function randomName(): string {
  return `${ADJECTIVES[randomInt(ADJECTIVES.length)]}_${BIRDS[randomInt(BIRDS.length)]}`;
}

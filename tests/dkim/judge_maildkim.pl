#!/usr/bin/perl
# Verifies every DKIM signature of the messages in a folder with Mail::DKIM.
# usage: judge_maildkim.pl FOLDER
# FOLDER holds *.eml and records.txt ("DNS name<TAB>TXT" lines). Prints "file index pass|fail|..." for each signature.
use strict;
use warnings;
use Mail::DKIM::Verifier;
use Net::DNS;

my ($folder) = @ARGV;
my %records;
open(my $list, '<', "$folder/records.txt") or die "records.txt: $!";
while (my $line = <$list>) {
    chomp $line;
    my ($name, $text) = split /\t/, $line, 2;
    $records{$name} = $text;
}
close $list;

{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query = sub {
        my ($name, $type) = @_;
        my $text = $records{lc $name};
        $@ = defined $text && $type eq 'TXT' ? 'NOERROR' : 'NXDOMAIN';
        return unless $@ eq 'NOERROR';
        return Net::DNS::RR->new(owner => $name, type => 'TXT', txtdata => [unpack '(a255)*', $text]);
    };
}

for my $file (sort glob "$folder/*.eml") {
    open(my $message, '<:raw', $file) or die "$file: $!";
    my $verifier = Mail::DKIM::Verifier->new;
    local $/;
    $verifier->PRINT(<$message>);
    $verifier->CLOSE;
    my $index = 0;
    for my $signature ($verifier->signatures) {
        (my $name = $file) =~ s{.*/}{};
        print "$name ", $index++, ' ', $signature->result, "\n";
    }
}

# A journal of what was changed on a machine, so that all of it can be put back: each entry is on disk before its change is made, with what was
# there before. Putting back what did not change does no harm, so a script that failed in the middle is mended by running it again, or undone.

Set-StrictMode -Version 2.0
Import-Module (Join-Path $PSScriptRoot 'Headroom.psm1')

$script:File = Join-Path $env:ProgramData 'Headroom\prepare-vm.json'

<#
.SYNOPSIS
The file that holds the journal.
#>
function Get-JournalPath {
    $script:File
}

<#
.SYNOPSIS
All entries, oldest first.
#>
function Get-Journal {
    if (-not (Test-Path -LiteralPath $script:File)) { return @() }
    try {
        $entries = Get-Content -LiteralPath $script:File -Raw | ConvertFrom-Json
    }
    catch {
        throw "The journal $($script:File) cannot be read: $($_.Exception.Message) It lists what was changed here; keep a copy, mend or remove it, and run this again."
    }
    # One entry or many: an array either way.
    @($entries | Where-Object { $null -ne $_ })
}

function Save-Journal {
    param([object[]] $Entries)
    $folder = Split-Path -Parent $script:File
    if (-not (Test-Path -LiteralPath $folder)) { New-Item -ItemType Directory -Path $folder | Out-Null }
    if ($Entries.Count -eq 0) {
        if (Test-Path -LiteralPath $script:File) { Remove-Item -LiteralPath $script:File }
        return
    }
    # Beside it and then in its place: a journal cut in half would be of no use.
    $new = "$($script:File).new"
    ConvertTo-Json -InputObject @($Entries) -Depth 4 | Set-Content -LiteralPath $new -Encoding UTF8
    Move-Item -LiteralPath $new -Destination $script:File -Force
}

# Notes what was there before a change, unless the journal has it from an earlier run: that run's note is the older truth.
function Add-Entry {
    param([Parameter(Mandatory)] [string] $Kind, [Parameter(Mandatory)] [string] $Name, $Before, [string] $Type = '')
    $entries = @(Get-Journal)
    if ($entries | Where-Object { $_.Kind -eq $Kind -and $_.Name -eq $Name }) { return }
    Save-Journal ($entries + [pscustomobject] @{ Kind = $Kind; Name = $Name; Before = $Before; Type = $Type })
}

<#
.SYNOPSIS
Sets a registry value (REG_DWORD) and notes what was there.
#>
function Set-JournaledValue {
    param([Parameter(Mandatory)] [string] $Path, [Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [int] $Value)
    $before = Get-RegistryValue -Path $Path -Name $Name
    if ($before -eq $Value) { return }
    Write-Step "set $Path\$Name to $Value (it was $(if ($null -eq $before) { 'not there' } else { $before }))"
    Add-Entry -Kind 'Registry' -Name "$Path|$Name" -Before $before
    if (-not (Test-Path -LiteralPath $Path)) { New-Item -Path $Path -Force | Out-Null }
    Set-ItemProperty -LiteralPath $Path -Name $Name -Value $Value -Type DWord
}

<#
.SYNOPSIS
Turns an option of the next start on and notes whether this start had it.
#>
function Set-JournaledStartOption {
    param([Parameter(Mandatory)] [ValidateSet('testsigning', 'debug')] [string] $Element)
    $before = Test-StartOption $Element.ToUpperInvariant()
    Write-Step "bcdedit /set $Element on (this start had it $(if ($before) { 'on' } else { 'off' }))"
    Add-Entry -Kind 'StartOption' -Name $Element -Before $before
    Invoke-Tool bcdedit.exe @('/set', $Element, 'on') | Out-Null
}

<#
.SYNOPSIS
Puts a certificate into a store of the machine and notes that it was not there.
#>
function Add-JournaledCertificate {
    param([Parameter(Mandatory)] [string] $Path, [Parameter(Mandatory)] [ValidateSet('Root', 'TrustedPublisher')] [string] $Store)
    $certificate = New-Object Security.Cryptography.X509Certificates.X509Certificate2 $Path
    $place = "Cert:\LocalMachine\$Store\$($certificate.Thumbprint)"
    if (Test-Path -LiteralPath $place) { return }
    Write-Step "trust $($certificate.Subject) ($($certificate.Thumbprint)) in $Store"
    Add-Entry -Kind 'Certificate' -Name $place -Before $false
    Import-Certificate -FilePath $Path -CertStoreLocation "Cert:\LocalMachine\$Store" | Out-Null
}

<#
.SYNOPSIS
Puts everything back, newest change first. What could not be put back stays in the journal.
#>
function Undo-Journal {
    $entries = @(Get-Journal)
    for ($i = $entries.Count - 1; $i -ge 0; $i--) {
        Undo-Entry $entries[$i]
        Save-Journal @($entries | Select-Object -First $i)
    }
}

function Undo-Entry {
    param([Parameter(Mandatory)] $Entry)
    switch ($Entry.Kind) {
        'Registry' {
            $path, $name = $Entry.Name -split '\|', 2
            if ($null -eq $Entry.Before) {
                Write-Step "remove $path\$name"
                if (Test-Path -LiteralPath $path) { Remove-ItemProperty -LiteralPath $path -Name $name -ErrorAction SilentlyContinue }
            }
            else {
                Write-Step "set $path\$name to $($Entry.Before), as it was"
                Set-ItemProperty -LiteralPath $path -Name $name -Value $Entry.Before -Type DWord
            }
        }
        'StartOption' {
            $value = if ($Entry.Before) { 'on' } else { 'off' }
            Write-Step "bcdedit /set $($Entry.Name) $value, as it was"
            Invoke-Tool bcdedit.exe @('/set', $Entry.Name, $value) | Out-Null
        }
        'Certificate' {
            Write-Step "remove $($Entry.Name)"
            if (Test-Path -LiteralPath $Entry.Name) { Remove-Item -LiteralPath $Entry.Name }
        }
        default {
            throw "The journal $($script:File) holds an entry of kind '$($Entry.Kind)', which this version does not know: undo it with the version that made it."
        }
    }
}

Export-ModuleMember -Function Get-JournalPath, Get-Journal, Set-JournaledValue, Set-JournaledStartOption, Add-JournaledCertificate, Undo-Journal
